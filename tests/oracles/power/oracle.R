# Sample sizes and power. Rscript oracle.R > oracle.txt
suppressMessages({library(rpact); library(Hmisc)})
say <- function(...) cat(paste(..., sep = "|"), "\n", sep = "")
num <- function(v) sprintf("%.15g", v)
# stats: power.t.test and power.prop.test (two-sided .05, upper part only as R's default)
for (d in c(.3, .5, 1.2)) for (pw in c(.8, .9))
  say("t.test", d, pw, num(power.t.test(delta = d, sd = 1, power = pw, tol = 1e-12)$n))
for (n in c(5, 20, 100)) say("t.power", n, num(power.t.test(n = n, delta = .5, sd = 1)$power))
for (p in list(c(.5, .75), c(.1, .2), c(.85, .95)))
  say("prop.test", p[1], p[2], num(power.prop.test(p1 = p[1], p2 = p[2], power = .9, tol = 1e-13)$n),
      num(power.prop.test(n = 60, p1 = p[1], p2 = p[2])$power))
# rpact: one stage, one-sided .025, power .9; total n
des <- getDesignGroupSequential(kMax = 1, alpha = .025, beta = .1)
for (r in c(1, 2, .5)) {
  say("rpact.mean.t", r, num(getSampleSizeMeans(des, alternative = .16, stDev = .4, allocationRatioPlanned = r)$nFixed))
  say("rpact.mean.z", r, num(getSampleSizeMeans(des, alternative = .16, stDev = .4, allocationRatioPlanned = r, normalApproximation = TRUE)$nFixed))
  say("rpact.mean.ni", r, num(getSampleSizeMeans(des, thetaH0 = -.1, alternative = .02, stDev = .4, allocationRatioPlanned = r)$nFixed))
  say("rpact.rates", r, num(getSampleSizeRates(des, pi1 = .65, pi2 = .45, allocationRatioPlanned = r)$nFixed))
  say("rpact.rates.ni", r, num(getSampleSizeRates(des, pi1 = .65, pi2 = .6, thetaH0 = -.1, allocationRatioPlanned = r)$nFixed))
  for (m in c("Schoenfeld", "Freedman")) {
    s <- getSampleSizeSurvival(des, hazardRatio = .6, median2 = 12, accrualTime = 12, followUpTime = 12,
      allocationRatioPlanned = r, typeOfComputation = m)
    say("rpact.survival", m, r, num(s$eventsFixed), num(s$nFixed))
    s <- getSampleSizeSurvival(des, hazardRatio = .6, median2 = 12, accrualTime = 12, followUpTime = 12,
      dropoutRate1 = .1, dropoutRate2 = .2, dropoutTime = 12, allocationRatioPlanned = r, typeOfComputation = m)
    say("rpact.survival.dropout", m, r, num(s$eventsFixed), num(s$nFixed))
  }
}
# Hmisc: Whitehead, equal allocation
p2 <- c(.2, .3, .3, .15, .05)
for (or in c(1.5, 2, 3)) {
  p1 <- pomodm(p = p2, odds.ratio = or)
  for (f in c(.5, 1 / 3)) {
    avg <- (1 - f) * p2 + f * p1
    say("ordinal", or, num(f), num(posamsize(avg, or, fraction = f, alpha = .05, power = .9)$n))
  }
}
# Lu, Luo and Chen (2008): variance of the last visit's contrast in a mixed model with the given
# correlation, from nlme::gls on data with exactly those shares of dropout (any outcome: the
# variance over sigma^2 does not depend on it). n = 20 an arm.
suppressMessages(library(nlme))
mm <- function(name, R, ra, rb) {
  v <- nrow(R); n <- 20
  d <- do.call(rbind, lapply(1:2, function(a) {
    last <- sapply(seq_len(n), function(i) sum(i <= round((if (a == 1) ra else rb) * n)))
    do.call(rbind, lapply(seq_len(n), function(i)
      data.frame(id = paste(a, i), arm = factor(a), visit = seq_len(last[i]))))
  }))
  set.seed(1); d$y <- rnorm(nrow(d)); d$visitf <- factor(d$visit)
  cs <- corSymm(R[lower.tri(R)], form = ~ visit | id, fixed = TRUE)
  fit <- gls(y ~ 0 + visitf:arm, d, correlation = cs)
  k <- grep(paste0("visitf", v, ":"), names(coef(fit)))
  say("mmrm", name, num(n * sum(diag(vcov(fit))[k]) / fit$sigma^2))
}
cs4 <- matrix(.25, 4, 4); diag(cs4) <- 1
mm("cs", cs4, c(1, .9, .8, .7), c(1, .9, .8, .7))
ar3 <- .6^abs(outer(1:3, 1:3, "-"))
mm("ar1", ar3, c(1, .85, .6), c(1, 1, .9))
