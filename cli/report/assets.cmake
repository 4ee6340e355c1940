# The report's style, script and plots as one C++ file, so that the program needs no files beside it.
# The plots are a bundle of Observable Plot, made with npm and esbuild at configuration:
#   MOEKIT_REPORT=AUTO  with npm and its registry, interactive plots; else a note, and plain pictures
#   MOEKIT_REPORT=ON    fails without them
#   MOEKIT_REPORT=OFF   never tries
set(MOEKIT_REPORT AUTO CACHE STRING "Interactive plots in the report: AUTO, ON or OFF (needs npm)")
set_property(CACHE MOEKIT_REPORT PROPERTY STRINGS AUTO ON OFF)

set(report_from ${CMAKE_CURRENT_LIST_DIR})
set(report_to ${PROJECT_BINARY_DIR}/report)
# One scope, in this order.
set(report_scripts dom.js highlight.js figure.js overview.js map.js curves.js coefficients.js effects.js
  gate.js calibration.js confusion.js fitting.js rows.js page.js)

# Sets report_plots to the bundle, or to nothing.
function(moekit_bundle_plots)
  set(report_plots "" PARENT_SCOPE)
  if(MOEKIT_REPORT STREQUAL "OFF")
    return()
  endif()
  set(key "")
  foreach(name package.json package-lock.json plots.js)
    file(SHA256 ${report_from}/${name} hash)
    string(APPEND key ${hash})
  endforeach()
  string(SHA256 key "${key}")
  set(bundle ${report_to}/plots-${key}.js)
  set(failed ${report_to}/failed-${key})
  if(EXISTS ${bundle})
    set(report_plots ${bundle} PARENT_SCOPE)
    return()
  endif()
  find_program(MOEKIT_NPM npm)
  find_program(MOEKIT_NODE NAMES node nodejs)
  set(why "npm is not installed")
  # What failed once is not tried again at every configuration: a registry out of reach costs a minute.
  if(MOEKIT_NPM AND MOEKIT_NODE AND (MOEKIT_REPORT STREQUAL "ON" OR NOT EXISTS ${failed}))
    file(MAKE_DIRECTORY ${report_to}/npm)
    foreach(name package.json package-lock.json plots.js)
      file(COPY ${report_from}/${name} DESTINATION ${report_to}/npm)
    endforeach()
    execute_process(
      COMMAND ${MOEKIT_NPM} ci --include=dev --ignore-scripts --no-audit --no-fund --loglevel=error
        --fetch-retries=1 --fetch-timeout=20000
      WORKING_DIRECTORY ${report_to}/npm TIMEOUT 120 RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE why)
    if(result EQUAL 0)
      execute_process(
        COMMAND ${MOEKIT_NODE} node_modules/esbuild/bin/esbuild plots.js --bundle --minify --format=iife
          --target=es2020 --charset=ascii --legal-comments=none --log-level=error --outfile=${bundle}
        WORKING_DIRECTORY ${report_to}/npm TIMEOUT 60 RESULT_VARIABLE result ERROR_VARIABLE why)
    endif()
    if(NOT result EQUAL 0)
      file(REMOVE ${bundle})
      file(WRITE ${failed} "${why}")
    endif()
  elseif(EXISTS ${failed})
    set(why "an earlier attempt failed; -DMOEKIT_REPORT=ON tries again")
  endif()
  if(EXISTS ${bundle})
    set(report_plots ${bundle} PARENT_SCOPE)
  elseif(MOEKIT_REPORT STREQUAL "ON")
    message(FATAL_ERROR "MOEKIT_REPORT=ON, but the plots can't be bundled: ${why}")
  else()
    message(STATUS "the report gets plain pictures instead of interactive plots: ${why}")
  endif()
endfunction()

# A text as a C++ constant.
function(moekit_embed name text)
  string(APPEND report_source "const std::string_view ${name} = R\"moekit(${text})moekit\";\n")
  set(report_source "${report_source}" PARENT_SCOPE)
endfunction()

moekit_bundle_plots()
set(report_source "#include \"report_assets.hpp\"\n\nnamespace moekit::cli {\n\n")
set(report_plots_text "")
if(report_plots)
  file(READ ${report_plots} report_plots_text)
endif()
file(READ ${report_from}/page.css report_style_text)
set(report_script_text "")
foreach(name ${report_scripts})
  file(READ ${report_from}/${name} text)
  string(APPEND report_script_text "${text}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${report_from}/${name})
endforeach()
foreach(name page.css package-lock.json plots.js)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${report_from}/${name})
endforeach()
moekit_embed(kReportStyle "${report_style_text}")
moekit_embed(kReportScript "${report_script_text}")
moekit_embed(kReportPlots "${report_plots_text}")
string(APPEND report_source "\n}  // namespace moekit::cli\n")
file(WRITE ${report_to}/report_assets.new "${report_source}")
file(COPY_FILE ${report_to}/report_assets.new ${report_to}/report_assets.cpp ONLY_IF_DIFFERENT)
set(MOEKIT_REPORT_SOURCE ${report_to}/report_assets.cpp)
