# Rscript anhecova.R > anhecova.txt     (in this folder; R with sandwich; data of ../mmrm)
# Standardised means with the unconditional variance of Ye et al. 2023 and Bannick et al. 2025,
# written out from lm with interactions; HC covariances from sandwich.  Lines: fit,quantity,key,value
suppressMessages(library(sandwich))
out <- function(fit, what, key, v) cat(sprintf("%s,%s,%s,%.15g\n", fit, what, key, v), sep = "")
d <- read.csv("../mmrm/data.csv", stringsAsFactors = FALSE)
d <- d[d$AVISIT == "W12", ]
d <- d[complete.cases(d[, c("AVAL", "BASE", "SITEID", "TRT01P")]), ]
d$arm <- factor(d$TRT01P, levels = c("Control", "Low", "High"))
d$site <- factor(d$SITEID)
n <- nrow(d)

unconditional <- function(name, fit, strata = NULL) {
  arms <- levels(d$arm); k <- length(arms); y <- d$AVAL
  mu <- sapply(arms, function(a) { e <- d; e$arm <- factor(a, arms); predict(fit, e) })
  share <- as.numeric(table(d$arm)) / n
  V <- matrix(0, k, k)
  for (a in 1:k) for (b in 1:k) {
    A <- d$arm == arms[a]; B <- d$arm == arms[b]
    V[a, b] <- cov(y[A], mu[A, b]) + cov(y[B], mu[B, a]) - cov(mu[, a], mu[, b])
    if (a == b) V[a, a] <- V[a, a] + (var(y[A]) - 2 * cov(y[A], mu[A, a]) + var(mu[, a])) / share[a]
  }
  if (!is.null(strata)) {
    omega <- diag(share) - share %o% share
    for (z in unique(strata)) {
      R <- diag(sapply(1:k, function(a) {
        i <- strata == z & d$arm == arms[a]
        mean(y[i] - mu[i, a]) / share[a]
      }))
      V <- V - mean(strata == z) * R %*% omega %*% R
    }
  }
  V <- V / n; theta <- colMeans(mu)
  for (a in 1:k) { out(name, "mean", arms[a], theta[a]); out(name, "mean_se", arms[a], sqrt(V[a, a])) }
  for (a in 2:k) {
    out(name, "difference", arms[a], theta[a] - theta[1])
    out(name, "difference_se", arms[a], sqrt(V[a, a] + V[1, 1] - 2 * V[1, a]))
  }
}
site <- as.character(d$site)
unconditional("anhecova_simple", lm(AVAL ~ arm * (BASE + site), d))
unconditional("anhecova_base_block", lm(AVAL ~ arm * BASE, d), site)
unconditional("anhecova_base_simple", lm(AVAL ~ arm * BASE, d))
unconditional("standardised_simple", lm(AVAL ~ arm + BASE + site, d))
unconditional("standardised_block", lm(AVAL ~ arm + BASE + site, d), site)

# small-sample variant for the high arm against control, from lm by arm
x <- model.matrix(~ BASE + site, d); bar <- colMeans(x)
part <- function(a) {
  f <- lm(AVAL ~ BASE + site, d[d$arm == a, ])
  list(mean = sum(bar * coef(f)), v = drop(bar %*% vcov(f) %*% bar), df = f$df.residual, b = coef(f))
}
hi <- part("High"); lo <- part("Control")
extra <- var(drop(x %*% (hi$b - lo$b))) / n
v <- hi$v + lo$v + extra
out("small_sample", "difference", "High", hi$mean - lo$mean)
out("small_sample", "difference_se", "High", sqrt(v))
out("small_sample", "difference_df", "High", v^2 / (hi$v^2 / hi$df + lo$v^2 / lo$df + extra^2 / (n - 1)))

f <- lm(AVAL ~ BASE + site + arm, d)
for (h in c("HC0", "HC1", "HC2", "HC3")) for (i in seq_along(coef(f)))
  out("hc", tolower(h), names(coef(f))[i], sqrt(diag(vcovHC(f, type = h)))[i])
