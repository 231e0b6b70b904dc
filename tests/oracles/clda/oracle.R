# Rscript oracle.R > oracle.txt : quantity,arm,visit,value
library(nlme)
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d$TRT01P <- factor(d$TRT01P, c("Control", "Low", "High"))
d$AVISIT <- factor(d$AVISIT, c("Baseline", "W4", "W8", "W12"))
d$STRATUM <- factor(d$STRATUM)
d <- d[!is.na(d$AVAL), ]
# one column for each arm and visit after baseline: no arm has an effect at baseline
for (a in c("Low", "High")) for (v in c("W4", "W8", "W12"))
  d[[paste0(a, v)]] <- as.numeric(d$TRT01P == a & d$AVISIT == v)
fit <- gls(AVAL ~ STRATUM + AVISIT + LowW4 + LowW8 + LowW12 + HighW4 + HighW8 + HighW12,
           data = d, correlation = corSymm(form = ~ as.integer(AVISIT) | USUBJID),
           weights = varIdent(form = ~ 1 | AVISIT), method = "REML",
           control = glsControl(tolerance = 1e-12, msTol = 1e-12, maxIter = 500,
                                msMaxIter = 500, opt = "nlminb"))
out <- function(q, arm, visit, value) cat(sprintf("%s,%s,%s,%.15g\n", q, arm, visit, value), sep = "")
out("minus2_loglik", "", "", -2 * as.numeric(logLik(fit)))
b <- coef(fit)
V <- vcov(fit)
for (a in levels(d$TRT01P)) for (v in levels(d$AVISIT)) {
  l <- setNames(numeric(length(b)), names(b))
  l["(Intercept)"] <- 1
  l["STRATUMslow"] <- 0.5
  if (v != "Baseline") l[paste0("AVISIT", v)] <- 1
  own <- paste0(a, v)
  if (own %in% names(b)) {
    l[own] <- 1
    out("difference", a, v, b[own])
    out("difference_se", a, v, sqrt(V[own, own]))
  }
  out("lsmean", a, v, sum(l * b))
  out("lsmean_se", a, v, sqrt(drop(t(l) %*% V %*% l)))
}
# joint test of the arms at the visits after baseline
k <- grep("Low|High", names(b))
out("wald_chisq", "", "", drop(t(b[k]) %*% solve(V[k, k]) %*% b[k]))
