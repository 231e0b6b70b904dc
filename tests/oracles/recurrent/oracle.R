# Rscript oracle.R > oracle.txt      (in this folder; R with survival)
suppressMessages(library(survival))
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d <- d[order(d$USUBJID, d$START), ]
d$TRT01P <- factor(d$TRT01P)
d$before <- ave(d$FALL, d$USUBJID, FUN = function(e) cumsum(e) - e)
d$order <- pmin(d$before + 1, 4)
d$since <- ave(d$START, d$USUBJID, d$before, FUN = min)
d$gap0 <- d$START - d$since
d$gap1 <- d$STOP - d$since
wlw <- do.call(rbind, lapply(split(d, d$USUBJID), function(r) {
  falls <- r$STOP[r$FALL == 1]
  data.frame(USUBJID = r$USUBJID[1], TRT01P = r$TRT01P[1], AGE = r$AGE[1], FEAR = r$FEAR[1],
             k = 1:3, STOP = ifelse(is.na(falls[1:3]), max(r$STOP), falls[1:3]),
             FALL = as.integer(!is.na(falls[1:3]))) }))
out <- function(fit, what, a, b, value)
  cat(sprintf("%s,%s,%s,%s,%.15g", fit, what, a, b, value), sep = "\n")
tight <- coxph.control(eps = 1e-14, iter.max = 100, toler.chol = 1e-15)
show <- function(key, form, rows, ties) {
  f <- coxph(form, rows, ties = ties, control = tight)
  r <- coxph(update(form, . ~ . + cluster(USUBJID)), rows, ties = ties, control = tight)
  for (i in names(coef(f))) {
    out(key, "estimate", i, "", coef(f)[i])
    out(key, "se", i, "", sqrt(diag(vcov(f)))[i])
    out(key, "robust_se", i, "", sqrt(diag(vcov(r)))[i])
  }
  out(key, "robust_score", "", "", r$rscore)
  out(key, "n", "", "", f$n); out(key, "events", "", "", f$nevent)
}
for (ties in c("breslow", "efron")) {
  show(paste0("rate_", ties), Surv(START, STOP, FALL) ~ TRT01P + AGE + FEAR + AID, d, ties)
  show(paste0("pwp_total_", ties),
       Surv(START, STOP, FALL) ~ TRT01P + AGE + FEAR + AID + strata(order), d, ties)
  show(paste0("pwp_gap_", ties),
       Surv(gap0, gap1, FALL) ~ TRT01P + AGE + FEAR + AID + strata(order), d, ties)
  show(paste0("wlw_", ties), Surv(STOP, FALL) ~ TRT01P + AGE + FEAR + strata(k), wlw, ties)
}
at <- c(10, 30, 60, 90, 150)
m <- survfit(Surv(START, STOP, FALL) ~ TRT01P, data = d, id = USUBJID)
for (i in seq_along(m$strata)) {
  g <- m[i]
  for (t in at) {
    j <- max(which(g$time <= t))
    out("mcf", "estimate", levels(d$TRT01P)[i], t, g$cumhaz[j])
    out("mcf", "se", levels(d$TRT01P)[i], t, g$std.chaz[j])
  }
}
# Death competing: the mean count from its definition, with a weight for every participant; the
# variance is the sum of squared derivatives in the weights, taken numerically (Richardson).
mean_count <- function(r, id, w, at) {
  weight <- w[match(r$USUBJID, id)]
  alive <- 1; total <- 0; out <- numeric(length(at))
  for (t in sort(unique(r$STOP[r$FALL == 1 | r$DEATH == 1]))) {
    risk <- sum(weight[r$START < t & r$STOP >= t])
    total <- total + alive * sum(weight[r$STOP == t & r$FALL == 1]) / risk
    alive <- alive * (1 - sum(weight[r$STOP == t & r$DEATH == 1]) / risk)
    out[at >= t] <- total
  }
  out
}
for (arm in levels(d$TRT01P)) {
  r <- d[d$TRT01P == arm, ]; id <- unique(r$USUBJID); one <- rep(1, length(id))
  slope <- sapply(seq_along(id), function(i) {
    step <- function(h) { e <- one * 0; e[i] <- h
      (mean_count(r, id, one + e, at) - mean_count(r, id, one - e, at)) / (2 * h) }
    (4 * step(5e-4) - step(1e-3)) / 3 })
  est <- mean_count(r, id, one, at)
  for (k in seq_along(at)) {
    out("ghosh_lin", "estimate", arm, at[k], est[k])
    out("ghosh_lin", "se", arm, at[k], sqrt(sum(slope[k, ]^2)))
  }
}
