# Rubin's rules with Barnard-Rubin df by mice::pool.scalar. Rscript oracle.R > oracle.txt
suppressMessages(library(mice))
options(digits = 15)
emit <- function(case, q, u, dfcom) {
  p <- pool.scalar(q, u, n = dfcom + 1, k = 1)
  cat(sprintf("%s,%d,%s,%.15g,%.15g,%.15g,%.15g,%.15g,%.15g,%.15g\n", case, length(q), dfcom,
              p$qbar, p$ubar, p$b, p$t, p$df, p$r, p$fmi))
}
for (i in 1:8) {
  m <- c(2, 3, 5, 10, 20, 50, 100, 7)[i]; spread <- c(.1, 1, .5, .02, 2, .3, .1, 1)[i]
  k <- seq_len(m)
  q <- 1.25 + spread * sin(3 * k)          # the test computes the same numbers
  u <- 0.4 + 0.1 * cos(k)
  for (dfcom in c(Inf, 4, 35, 169.5, 1e4)) emit(paste0("case", i), q, u, dfcom)
}
