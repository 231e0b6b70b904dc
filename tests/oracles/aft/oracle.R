# Rscript oracle.R > oracle.txt      (in this folder; R with survival)
suppressMessages(library(survival))
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d$TRT01P <- factor(d$TRT01P, levels = c("Control", "Low", "High"))
d$STRATUM <- factor(d$STRATUM)
out <- function(fit, what, a, value)
  cat(sprintf("%s,%s,%s,%.15g", fit, what, a, value), sep = "\n")
tight <- survreg.control(rel.tolerance = 1e-15, maxiter = 200, toler.chol = 1e-15)
forms <- list(
  main = Surv(WEEK, EVENT) ~ TRT01P + STRATUM + AGE + SPEED,
  cross = Surv(WEEK, EVENT) ~ TRT01P * STRATUM + AGE,
  arm = Surv(WEEK, EVENT) ~ TRT01P,
  none = Surv(WEEK, EVENT) ~ 1)
laws <- c(weibull = "weibull", log_normal = "lognormal", log_logistic = "loglogistic",
          exponential = "exponential")
for (form in names(forms)) for (law in names(laws)) {
  key <- paste(form, law, sep = "-")
  f <- suppressWarnings(survreg(forms[[form]], d, dist = laws[[law]], control = tight))
  v <- vcov(f)
  for (i in seq_along(coef(f))) {
    out(key, "estimate", names(coef(f))[i], coef(f)[i])
    out(key, "se", names(coef(f))[i], sqrt(v[i, i]))
  }
  if (law != "exponential") {
    k <- nrow(v)
    out(key, "scale", "", f$scale)
    out(key, "log_scale_se", "", sqrt(v[k, k]))
    for (i in seq_along(coef(f))) out(key, "cov_log_scale", names(coef(f))[i], v[i, k])
  }
  out(key, "loglik", "", f$loglik[2])
  out(key, "aic", "", AIC(f))
  out(key, "n", "", length(f$linear.predictors))
  if (form == "main") {
    s <- summary(f)$table
    for (i in names(coef(f))) out(key, "p", i, s[i, "p"])
  }
}
