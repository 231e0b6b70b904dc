# Rscript oracle.R > oracle.txt   (in this folder; R with ordinal, MASS, numDeriv)
suppressMessages({library(ordinal); library(MASS); library(numDeriv)})
options(digits = 15)
d <- read.csv("data.csv", stringsAsFactors = TRUE)
d <- d[!is.na(d$FAC) & !is.na(d$BASE), ]
d$Y <- factor(d$FAC, ordered = TRUE)
out <- function(...) cat(sprintf("%s,%s,%s,%.15g", ...), sep = "\n")
cat("R", as.character(getRversion()), "ordinal", as.character(packageVersion("ordinal")),
    "MASS", as.character(packageVersion("MASS")),
    "numDeriv", as.character(packageVersion("numDeriv")), "\n", file = "versions.txt")
tight <- clm.control(gradTol = 1e-12, maxIter = 200, relTol = 1e-14)
report <- function(name, fit) {
  s <- coef(summary(fit))
  out(name, "estimate", rownames(s), s[, 1]); out(name, "se", rownames(s), s[, 2])
  out(name, "p", rownames(s), s[, 4])
  out(name, "loglik", "", as.numeric(logLik(fit)))
}
for (link in c("logit", "probit", "cloglog"))
  report(link, clm(Y ~ TRT + SITE + BASE, data = d, link = link, control = tight))
partial <- clm(Y ~ SITE + BASE, nominal = ~ TRT, data = d, control = tight)
report("partial", partial)
fit <- clm(Y ~ TRT + SITE + BASE, data = d, control = tight)
free <- list(TRT = clm(Y ~ SITE + BASE, nominal = ~ TRT, data = d, control = tight),
             SITE = clm(Y ~ TRT + BASE, nominal = ~ SITE, data = d, control = tight),
             BASE = clm(Y ~ TRT + SITE, nominal = ~ BASE, data = d, control = tight),
             all = clm(Y ~ 1, nominal = ~ TRT + SITE + BASE, data = d, control = tight))
for (t in names(free))
  out("likelihood_ratio", "statistic", t, 2 * as.numeric(logLik(free[[t]]) - logLik(fit)))
p <- polr(Y ~ TRT + SITE + BASE, data = d, Hess = TRUE, control = list(reltol = 1e-16, maxit = 1000))
s <- coef(summary(p)); out("polr", "estimate", rownames(s), s[, 1]); out("polr", "deviance", "", p$deviance)

# the score test of effects by threshold, from numerical derivatives
x <- model.matrix(~ TRT + SITE + BASE, d)[, -1]
y <- as.integer(d$Y); K <- max(y) - 1
probs <- function(a, B, x) {          # B: effects, one row a threshold
  cum <- sapply(seq_len(K), function(k) plogis(a[k] - drop(x %*% B[k, ])))
  cum <- cbind(0, matrix(cum, ncol = K), 1)
  cum[, -1, drop = FALSE] - cum[, -ncol(cum), drop = FALSE]
}
score <- function(name, free) {       # columns of x that get effects by threshold
  rest <- setdiff(seq_len(ncol(x)), free)
  unpack <- function(v) {
    a <- v[1:K]; B <- matrix(0, K, ncol(x))
    if (length(rest)) B[, rest] <- rep(v[K + seq_along(rest)], each = K)
    B[, free] <- matrix(v[-(1:(K + length(rest)))], K, byrow = TRUE)
    list(a = a, B = B)
  }
  ll <- function(v) { u <- unpack(v); sum(log(probs(u$a, u$B, x)[cbind(seq_along(y), y)])) }
  at <- c(fit$alpha, fit$beta[rest], rep(fit$beta[free], K))
  g <- grad(ll, at); H <- -hessian(ll, at)
  out(name, "observed", "", sum(g * solve(H, g)))
  J <- matrix(0, length(at), length(at))
  for (i in seq_along(y)) {
    f <- function(v) { u <- unpack(v); drop(probs(u$a, u$B, x[i, , drop = FALSE])) }
    D <- jacobian(f, at); J <- J + t(D) %*% (D / f(at))
  }
  out(name, "expected", "", sum(g * solve(J, g)))
}
score("score all", 1:5); score("score TRT", 1:2); score("score SITE", 3:4); score("score BASE", 5)

# probabilities under each arm, averaged over the participants, delta method
v <- vcov(fit)
for (arm in levels(d$TRT)) {
  f <- function(par) {
    e <- d; e$TRT <- factor(arm, levels = levels(d$TRT))
    z <- model.matrix(~ TRT + SITE + BASE, e)[, -1]
    colMeans(probs(par[1:K], matrix(par[-(1:K)], K, ncol(z), byrow = TRUE), z))
  }
  D <- jacobian(f, coef(fit))
  out(paste("standardised", arm), "estimate", levels(d$Y), f(coef(fit)))
  out(paste("standardised", arm), "se", levels(d$Y), sqrt(diag(D %*% v %*% t(D))))
}
