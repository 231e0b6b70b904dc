# Rscript oracle.R > oracle.txt      (in this folder; R with nlme and emmeans)
suppressMessages({library(nlme); library(emmeans)})
options(digits = 15, width = 200)
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d <- d[!is.na(d$AVAL), ]
d$TRT01P <- factor(d$TRT01P, levels = c("Control", "Low", "High"))
d$SITEID <- factor(d$SITEID)
d$AVISIT <- factor(d$AVISIT, levels = c("W2", "W4", "W8", "W12"))
d$k <- as.integer(d$AVISIT)
out <- function(...) cat(sprintf(...), sep = "\n")
tight <- glsControl(maxIter = 500, msMaxIter = 5000, tolerance = 1e-12, msTol = 1e-14,
                    opt = "nlminb", returnObject = TRUE)
for (method in c("REML", "ML")) {
  fit <- gls(AVAL ~ BASE * AVISIT + SITEID + TRT01P * AVISIT, data = d, method = method,
             correlation = corSymm(form = ~ k | USUBJID), weights = varIdent(form = ~ 1 | AVISIT),
             control = tight)
  out("%s,minus2_loglik,,,%.15g", method, -2 * as.numeric(logLik(fit)))
  se <- sqrt(diag(fit$varBeta))
  if (method == "ML") {
    # gls inflates the ML covariance of the coefficients by N / (N - p); undo it
    se <- se * sqrt((fit$dims$N - fit$dims$p) / fit$dims$N)
  }
  for (i in seq_along(coef(fit))) {
    out("%s,estimate,%s,,%.15g", method, names(coef(fit))[i], coef(fit)[i])
    out("%s,se,%s,,%.15g", method, names(coef(fit))[i], se[i])
  }
  full <- names(which(table(d$USUBJID) == 4))[1]
  v <- getVarCov(fit, individual = full)
  rows <- d[d$USUBJID == full, ]
  for (a in 1:4) for (b in 1:a)
    out("%s,covariance,%s,%s,%.15g", method, rows$AVISIT[a], rows$AVISIT[b], v[a, b])
  if (method == "REML") {
    grid <- emmeans(fit, ~ TRT01P | AVISIT, mode = "df.error", data = d)
    s <- as.data.frame(grid)
    for (i in seq_len(nrow(s))) {
      out("REML,lsmean,%s,%s,%.15g", s$TRT01P[i], s$AVISIT[i], s$emmean[i])
      out("REML,lsmean_se,%s,%s,%.15g", s$TRT01P[i], s$AVISIT[i], s$SE[i])
    }
    s <- as.data.frame(contrast(grid, "trt.vs.ctrl", ref = 1, adjust = "none"))
    for (i in seq_len(nrow(s))) {
      out("REML,difference,%s,%s,%.15g", s$contrast[i], s$AVISIT[i], s$estimate[i])
      out("REML,difference_se,%s,%s,%.15g", s$contrast[i], s$AVISIT[i], s$SE[i])
    }
  }
}
with(sleep, {
  t <- t.test(extra[group == 2], extra[group == 1], paired = TRUE)
  for (i in seq_along(extra)) out("sleep,row,%s,%s,%.15g", ID[i], group[i], extra[i])
  out("sleep,estimate,,,%.15g", t$estimate)
  out("sleep,se,,,%.15g", t$stderr)
  out("sleep,df,,,%.15g", t$parameter)
  out("sleep,p,,,%.15g", t$p.value)
})
out("version,R,,,%s", paste(R.version$major, R.version$minor, sep = "."))
out("version,nlme,,,%s", as.character(packageVersion("nlme")))
out("version,emmeans,,,%s", as.character(packageVersion("emmeans")))
