# Rscript structures.R > structures.txt      (in this folder; R with nlme and clubSandwich)
suppressMessages({library(nlme); library(clubSandwich)})
options(digits = 15)
d <- read.csv("structures.csv", stringsAsFactors = FALSE)
d <- d[!is.na(d$AVAL), ]
d$TRT01P <- factor(d$TRT01P); d$AVISIT <- factor(d$AVISIT); d$k <- as.integer(d$AVISIT)
out <- function(...) cat(sprintf(...), sep = "\n")
tight <- glsControl(maxIter = 500, msMaxIter = 5000, tolerance = 1e-12, msTol = 1e-14,
                    opt = "nlminb", returnObject = TRUE)
free <- varIdent(form = ~ 1 | AVISIT)
fits <- list(
  cs = list(corCompSymm(form = ~ k | USUBJID), NULL),
  csh = list(corCompSymm(form = ~ k | USUBJID), free),
  ar1 = list(corAR1(form = ~ k | USUBJID), NULL),
  ar1h = list(corAR1(form = ~ k | USUBJID), free),
  sp_exp = list(corExp(form = ~ ADY | USUBJID), NULL),
  sp_gau = list(corGaus(form = ~ ADY | USUBJID), NULL))
for (name in names(fits)) for (method in c("REML", "ML")) {
  fit <- gls(AVAL ~ BASE + TRT01P * AVISIT, data = d, method = method,
             correlation = fits[[name]][[1]], weights = fits[[name]][[2]], control = tight)
  v <- fit$varBeta
  # gls inflates the ML covariance of the coefficients by N / (N - p); undo it
  if (method == "ML") v <- v * (fit$dims$N - fit$dims$p) / fit$dims$N
  key <- sprintf("%s,%s", name, method)
  out("%s,minus2_loglik,,%.15g", key, -2 * as.numeric(logLik(fit)))
  out("%s,parameter,sigma,%.15g", key, fit$sigma)
  p <- coef(fit$modelStruct$corStruct, unconstrained = FALSE)
  out("%s,parameter,correlation,%.15g", key, p[1])
  for (i in seq_along(coef(fit))) {
    out("%s,estimate,%s,%.15g", key, names(coef(fit))[i], coef(fit)[i])
    out("%s,se,%s,%.15g", key, names(coef(fit))[i], sqrt(v[i, i]))
  }
  if (method == "REML" && name %in% c("cs", "ar1", "ar1h")) for (type in c("CR0", "CR3")) {
    robust <- coef_test(fit, vcov = vcovCR(fit, cluster = d$USUBJID, type = type),
                        test = "Satterthwaite")
    for (i in seq_along(coef(fit))) {
      out("%s,se_%s,%s,%.15g", key, type, names(coef(fit))[i], robust$SE[i])
      out("%s,df_%s,%s,%.15g", key, type, names(coef(fit))[i],
          if (is.null(robust$df_Satt)) robust$df[i] else robust$df_Satt[i])
    }
  }
}
for (p in c("nlme", "clubSandwich")) out("version,,%s,,%s", p, as.character(packageVersion(p)))
out("version,,R,,%s", paste(R.version$major, R.version$minor, sep = "."))
