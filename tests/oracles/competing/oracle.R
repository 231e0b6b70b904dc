# Rscript oracle.R > oracle.txt      (in this folder; R with survival and cmprsk)
suppressMessages({library(survival); library(cmprsk)})
out <- function(fit, quantity, a, b, value) cat(sprintf("%s,%s,%s,%s,%.15g\n", fit, quantity, a, b, value))
d <- read.csv("data.csv", stringsAsFactors = FALSE)
arms <- c("Control", "Low", "High")
d$TRT01P <- factor(d$TRT01P, levels = arms)
stopifnot(!any(duplicated(d$EXACT)))
at <- c(30, 75, 120, 148)
for (scale in c("DAYS", "EXACT")) {
  fit <- cuminc(d[[scale]], d$CAUSE, d$TRT01P, cencode = 0)
  tp <- timepoints(fit, at)
  for (r in rownames(tp$est)) {
    key <- strsplit(r, " ")[[1]]
    for (j in seq_along(at)) {
      out(paste0("cuminc_", scale, "_", key[2]), "estimate", key[1], at[j], tp$est[r, j])
      out(paste0("cuminc_", scale, "_", key[2]), "variance", key[1], at[j], tp$var[r, j])
    }
  }
  for (r in rownames(fit$Tests)) out(paste0("gray_", scale), "chisq", r, "", fit$Tests[r, "stat"])
  two <- d$TRT01P != "Low"
  t2 <- cuminc(d[[scale]][two], d$CAUSE[two], droplevels(d$TRT01P[two]), cencode = 0)$Tests
  for (r in rownames(t2)) out(paste0("gray2_", scale), "chisq", r, "", t2[r, "stat"])
  t3 <- cuminc(d[[scale]], d$CAUSE, d$TRT01P, strata = d$SITEID, cencode = 0)$Tests
  for (r in rownames(t3)) out(paste0("gray_strata_", scale), "chisq", r, "", t3[r, "stat"])
  t4 <- cuminc(d[[scale]], d$CAUSE, d$TRT01P, rho = 1, cencode = 0)$Tests
  for (r in rownames(t4)) out(paste0("gray_rho1_", scale), "chisq", r, "", t4[r, "stat"])
  # delta-method variance by hand (Marubini and Valsecchi), cause 1
  for (a in arms) {
    s <- d[d$TRT01P == a, ]
    t <- sort(unique(s[[scale]][s$CAUSE > 0])); n <- sapply(t, function(u) sum(s[[scale]] >= u))
    dk <- sapply(t, function(u) sum(s[[scale]] == u & s$CAUSE == 1)); dd <- sapply(t, function(u) sum(s[[scale]] == u & s$CAUSE > 0))
    sb <- c(1, cumprod(1 - dd / n))[seq_along(t)]; f <- cumsum(sb * dk / n)
    for (u in at) {
      i <- t <= u; ft <- f[max(which(i))]
      v <- sum(((ft - f)^2 * dd / (n * (n - dd)))[i]) + sum((sb^2 * dk * (n - dk) / n^3)[i]) - 2 * sum(((ft - f) * sb * dk / n^2)[i])
      out(paste0("delta_", scale, "_1"), "variance", a, u, v)
    }
  }
}
# Fine and Gray
x <- cbind(TRT01PLow = d$TRT01P == "Low", TRT01PHigh = d$TRT01P == "High", AGE = d$AGE)
for (scale in c("DAYS", "EXACT")) for (cause in 1:2) {
  fit <- crr(d[[scale]], d$CAUSE, x, failcode = cause, cencode = 0, gtol = 1e-12)
  for (i in 1:3) {
    out(paste0("crr_", scale, "_", cause), "estimate", names(fit$coef)[i], "", fit$coef[i])
    out(paste0("crr_", scale, "_", cause), "se", names(fit$coef)[i], "", sqrt(fit$var[i, i]))
  }
  out(paste0("crr_", scale, "_", cause), "loglik", "", "", fit$loglik)
  out(paste0("crr_", scale, "_", cause), "loglik_null", "", "", fit$loglik.null)
  d$time <- d[[scale]]
  d$status <- factor(d$CAUSE, 0:3)
  w <- finegray(Surv(time, status) ~ ., data = d, etype = as.character(cause), id = USUBJID)
  for (ties in c("breslow", "efron")) {
    fit <- coxph(Surv(fgstart, fgstop, fgstatus) ~ TRT01P + AGE, data = w, weights = fgwt, ties = ties,
                 cluster = USUBJID, control = coxph.control(eps = 1e-11, toler.chol = 1e-14, iter.max = 50))
    s <- summary(fit)$coefficients
    name <- paste0("finegray_", ties, "_", scale, "_", cause)
    for (i in 1:3) {
      out(name, "estimate", rownames(s)[i], "", s[i, "coef"])
      out(name, "se", rownames(s)[i], "", s[i, "robust se"])
    }
  }
}
# the censoring distribution estimated in each arm
fit <- crr(d$EXACT, d$CAUSE, x, cengroup = d$TRT01P, failcode = 1, cencode = 0, gtol = 1e-12)
for (i in 1:3) {
  out("crr_cengroup", "estimate", names(fit$coef)[i], "", fit$coef[i])
  out("crr_cengroup", "se", names(fit$coef)[i], "", sqrt(fit$var[i, i]))
}
