# Seconds of one EM pass of flexmix: the difference of two runs with different iteration limits, so that
# reading the formula, the design matrices and the final bookkeeping cancel.
# Rscript flexmix_pass.R DATA.csv[.gz] SHORT LONG    prints one line of CSV:
# rows, seconds a pass, log-likelihood after LONG passes, passes made, seconds of the long fit
suppressPackageStartupMessages(library(flexmix))

arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1])
short <- as.integer(arguments[2])
long <- as.integer(arguments[3])
inputs <- paste(setdiff(names(data), c("y", "z")), collapse = " + ")

fit <- function(passes) {
  gc(FALSE)
  control <- list(iter.max = passes, tolerance = 0, minprior = 0, verbose = 0)
  seconds <- system.time(
    model <- flexmix(as.formula(paste("y ~", inputs)), data = data, k = max(data$z), cluster = data$z,
                     model = FLXMRglm(), concomitant = FLXPmultinom(as.formula(paste("~", inputs))),
                     control = control)
  )[["elapsed"]]
  list(seconds = seconds, log_likelihood = as.numeric(logLik(model)))
}

invisible(fit(1))  # the first call also byte-compiles
first <- fit(short)
second <- fit(long)
cat(sprintf("%d,%.9g,%.4f,%d,%.4f\n", nrow(data), (second$seconds - first$seconds) / (long - short),
            second$log_likelihood, long, second$seconds))
