# Rscript oracle.R > oracle.txt      (in this folder; R with survival)
suppressMessages(library(survival))
out <- function(fit, quantity, a, b, value) cat(sprintf("%s,%s,%s,%s,%.15g\n", fit, quantity, a, b, value))
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d$TRT01P <- factor(d$TRT01P, levels = c("Control", "Low", "High"))
at <- c(1, 30, 75, 120, 149)
for (type in c("log-log", "log", "plain")) {
  f <- survfit(Surv(DAYS, FALL) ~ TRT01P, data = d, conf.type = type)
  s <- summary(f, times = at, extend = TRUE)
  arm <- sub("TRT01P=", "", s$strata)
  for (i in seq_along(s$time)) {
    out(type, "surv", arm[i], s$time[i], s$surv[i])
    out(type, "se", arm[i], s$time[i], s$std.err[i])
    out(type, "lower", arm[i], s$time[i], s$lower[i])
    out(type, "upper", arm[i], s$time[i], s$upper[i])
    out(type, "at_risk", arm[i], s$time[i], s$n.risk[i])
  }
  q <- quantile(f, probs = c(0.1, 0.25, 0.5, 0.75))
  for (g in rownames(q$quantile)) for (p in colnames(q$quantile)) {
    out(type, "quantile", sub("TRT01P=", "", g), as.numeric(p) / 100, q$quantile[g, p])
    out(type, "quantile_lower", sub("TRT01P=", "", g), as.numeric(p) / 100, q$lower[g, p])
    out(type, "quantile_upper", sub("TRT01P=", "", g), as.numeric(p) / 100, q$upper[g, p])
  }
}
# differences at 120 days: Wald, ratio and complementary log-log, by hand from survfit
f <- survfit(Surv(DAYS, FALL) ~ TRT01P, data = d, conf.type = "log-log")
s <- summary(f, times = 120)
z <- qnorm(0.975)
for (i in 2:3) {
  arm <- sub("TRT01P=", "", s$strata[i])
  dif <- s$surv[i] - s$surv[1]; se <- sqrt(s$std.err[i]^2 + s$std.err[1]^2)
  out("milestone", "difference", arm, 120, dif); out("milestone", "difference_se", arm, 120, se)
  out("milestone", "difference_p", arm, 120, 2 * pnorm(-abs(dif / se)))
  lr <- log(s$surv[i] / s$surv[1]); sl <- sqrt((s$std.err[i] / s$surv[i])^2 + (s$std.err[1] / s$surv[1])^2)
  out("milestone", "ratio", arm, 120, exp(lr)); out("milestone", "ratio_lower", arm, 120, exp(lr - z * sl))
  cl <- log(-log(s$surv[i])) - log(-log(s$surv[1]))
  sc <- sqrt(sum((s$std.err[c(1, i)] / (s$surv[c(1, i)] * log(s$surv[c(1, i)])))^2))
  out("milestone", "cloglog_p", arm, 120, 2 * pnorm(-abs(cl / sc)))
  lo <- dif - sqrt((s$surv[i] - s$lower[i])^2 + (s$upper[1] - s$surv[1])^2)
  hi <- dif + sqrt((s$upper[i] - s$surv[i])^2 + (s$surv[1] - s$lower[1])^2)
  out("milestone", "mover_lower", arm, 120, lo); out("milestone", "mover_upper", arm, 120, hi)
}
# log-rank and Peto-Prentice family (rho = 1), plain and stratified
test <- function(name, formula, rho) {
  t <- survdiff(formula, data = d, rho = rho)
  out(name, "chisq", "", "", t$chisq)
  obs <- if (is.matrix(t$obs)) rowSums(t$obs) else t$obs
  exp <- if (is.matrix(t$exp)) rowSums(t$exp) else t$exp
  for (i in 1:3) { out(name, "obs", levels(d$TRT01P)[i], "", obs[i]); out(name, "exp", levels(d$TRT01P)[i], "", exp[i]) }
  for (i in 1:3) for (j in 1:3) out(name, "var", levels(d$TRT01P)[i], levels(d$TRT01P)[j], t$var[i, j])
}
test("logrank", Surv(DAYS, FALL) ~ TRT01P, 0)
test("logrank_strata", Surv(DAYS, FALL) ~ TRT01P + strata(SITEID), 0)
test("rho1", Surv(DAYS, FALL) ~ TRT01P, 1)
test("rho1_strata", Surv(DAYS, FALL) ~ TRT01P + strata(SITEID), 1)
test("rho05", Surv(DAYS, FALL) ~ TRT01P, 0.5)
# trend: the score test of a Cox model is the trend test when event times are not tied
d$dose <- as.integer(d$TRT01P) - 1
stopifnot(!any(duplicated(d$EXACT[d$FALL == 1])))
out("trend", "chisq", "", "", coxph(Surv(EXACT, FALL) ~ dose, data = d)$score)
out("trend_strata", "chisq", "", "", coxph(Surv(EXACT, FALL) ~ dose + strata(SITEID), data = d)$score)
# RMST: the area and its standard error as print(survfit, rmean = ) gives them
rmean <- function(sub, tau) unname(summary(survfit(Surv(DAYS, FALL) ~ 1, data = sub), rmean = tau)$table[c("rmean", "se(rmean)")])
for (tau in c(60, 120, 150)) for (a in levels(d$TRT01P)) {
  r <- rmean(d[d$TRT01P == a, ], tau)
  out("rmst", "rmean", a, tau, r[1]); out("rmst", "se", a, tau, r[2])
}
share <- table(d$SITEID) / nrow(d)
for (a in levels(d$TRT01P)) {
  m <- v <- 0
  for (s in names(share)) {
    r <- rmean(d[d$TRT01P == a & d$SITEID == s, ], 100)
    m <- m + share[[s]] * r[1]; v <- v + share[[s]]^2 * r[2]^2
  }
  out("rmst_strata", "rmean", a, 100, m); out("rmst_strata", "se", a, 100, sqrt(v))
}
