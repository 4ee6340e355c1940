#pragma once
#include <doctest/doctest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

/// Runs the real program as a user would, in a folder of its own, where data/ is the bundled data.
namespace moekit::testing {

struct Ran {
  int code = -1;
  std::string out, err;
};

class Workshop {
 public:
  Workshop() {
    std::string name = (std::filesystem::temp_directory_path() / "moekit-cli-XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    path_ = name;
    std::filesystem::create_directory_symlink(MOEKIT_DATA, path_ / "data");
  }
  ~Workshop() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }
  bool exists(const std::string& name) const { return std::filesystem::exists(path_ / name); }
  std::string read(const std::string& name) const {
    std::ifstream in(path_ / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  /// Names in the folder beside data and what the tests themselves catch.
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      if (const std::string name = entry.path().filename(); name != "data" && name[0] != '_')
        names.push_back(name);
    std::sort(names.begin(), names.end());
    return names;
  }

  /// A line for the shell, in which `moekit` is the program.
  Ran shell(const std::string& line) const {
    const std::string whole = "cd '" + path_.string() + "' && moekit() { '" MOEKIT_PROGRAM "' \"$@\"; }; { " +
                              line + "; } >_out 2>_err </dev/null";
    const int status = std::system(("bash -c " + quoted(whole)).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("_out"), read("_err")};
  }
  Ran run(const std::string& arguments) const { return shell("moekit " + arguments); }

  /// The same with standard output and standard error on a terminal; both come back in `out`.
  Ran on_terminal(const std::string& arguments, const std::string& environment = "") const {
    int terminal = -1;
    const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
    if (child == 0) {
      const std::string line = "cd '" + path_.string() + "' && exec env -u NO_COLOR TERM=xterm " +
                               environment + " '" MOEKIT_PROGRAM "' " + arguments;
      ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
      ::_exit(127);
    }
    Ran ran;
    char piece[4096];
    for (ssize_t n; (n = ::read(terminal, piece, sizeof piece)) > 0;)
      ran.out.append(piece, static_cast<std::size_t>(n));
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(terminal);
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
  }

 private:
  static std::string quoted(const std::string& text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
  }

  std::filesystem::path path_;
};

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Standard error is exactly one line, "moekit: ...".
inline bool one_error_line(const Ran& ran) {
  return lines_of(ran.err).size() == 1 && ran.err.starts_with("moekit: ") && ran.err.back() == '\n';
}

inline nlohmann::json json_of(const std::string& text) { return nlohmann::json::parse(text); }

/// Cells without commas or quotes in them.
inline std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

}  // namespace moekit::testing
