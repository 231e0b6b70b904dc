# Rscript oracle.R > oracle.txt     (in this folder; R with lme4, lmerTest, pbkrtest, nlme, numDeriv)
# Lines: fit,quantity,key,value.
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(nlme); library(numDeriv)})
out <- function(fit, what, key, v) cat(sprintf("%s,%s,%s,%.12g\n", fit, what, key, v), sep = "")
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d$nested <- as.numeric(d$arm == "Robotic")
d$group <- factor(ifelse(d$nested == 1, d$therapist, paste0("P", d$id)))
f <- speed ~ base + site + arm

# ---- equal residual variances: lme4, lmerTest, pbkrtest
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e5))
e <- na.omit(d[, c("speed", "base", "site", "arm", "group", "nested")])
fit <- lmer(speed ~ base + site + arm + (0 + nested | group), data = e, REML = TRUE, control = tight)
s <- coef(summary(fit, ddf = "Satterthwaite"))
for (i in rownames(s)) {
  out("equal", "estimate", i, s[i, "Estimate"]); out("equal", "se_satterthwaite", i, s[i, "Std. Error"])
  out("equal", "df_satterthwaite", i, s[i, "df"])
}
k <- vcovAdj(fit)
for (i in seq_len(nrow(s))) {
  l <- rep(0, nrow(s)); l[i] <- 1
  out("equal", "se_kenward_roger", rownames(s)[i], sqrt(k[i, i]))
  out("equal", "df_kenward_roger", rownames(s)[i], Lb_ddf(l, vcov(fit), k))
}
out("equal", "variance", "therapist", as.numeric(VarCorr(fit)$group))
out("equal", "variance", "residual", sigma(fit)^2)
out("equal", "minus2_loglik", "", -2 * as.numeric(logLik(fit)))

# ---- residual variances by arm: nlme
lf <- lme(f, data = e, random = ~ 0 + nested | group, weights = varIdent(form = ~ 1 | arm),
          method = "REML", control = lmeControl(msTol = 1e-14, tolerance = 1e-12, msMaxIter = 500,
                                                maxIter = 500, niterEM = 100, opt = "optim",
                                                reltol = 1e-14))
for (i in names(fixef(lf))) {
  out("by_arm", "estimate", i, fixef(lf)[i]); out("by_arm", "se_satterthwaite", i, sqrt(diag(vcov(lf)))[i])
}
ratio <- coef(lf$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)
out("by_arm", "variance", "therapist", as.numeric(getVarCov(lf)))
out("by_arm", "variance", "residual, other", (lf$sigma * ratio["Conventional"])^2)
out("by_arm", "variance", "residual, nested", (lf$sigma * ratio["Robotic"])^2)

# ---- the same from dense matrices and numerical derivatives: df, adjusted SE
dense <- function(name, outcome, by_arm, zero = FALSE) {
  e <- d; e$y <- e[[outcome]]; e <- na.omit(e[, c("y", "base", "site", "arm", "group", "nested")])
  X <- model.matrix(~ base + site + arm, e); y <- e$y; n <- nrow(X); p <- ncol(X)
  Z <- model.matrix(~ 0 + group, droplevels(e)) * e$nested
  G <- if (by_arm) list(diag(1 - e$nested), diag(e$nested)) else list(diag(n))
  if (!zero) G <- c(G, list(tcrossprod(Z)))
  V <- function(t) Reduce(`+`, Map(`*`, t, G))
  m2 <- function(t) {
    Vi <- solve(V(t)); A <- t(X) %*% Vi %*% X; b <- solve(A, t(X) %*% Vi %*% y); r <- y - X %*% b
    as.numeric(determinant(V(t))$modulus + determinant(A)$modulus + t(r) %*% Vi %*% r + (n - p) * log(2 * pi))
  }
  t <- rep(var(resid(lm(y ~ X - 1))), length(G)); if (!zero) t[length(t)] <- t[1] / 4
  lo <- function(u) m2(exp(u))
  u <- optim(log(t), lo, method = "BFGS", control = list(reltol = 1e-15, maxit = 1000))$par
  for (i in 1:8) u <- u - solve(hessian(lo, u), grad(lo, u))
  t <- exp(u); Vi <- solve(V(t)); Phi <- solve(t(X) %*% Vi %*% X)
  b <- drop(Phi %*% t(X) %*% Vi %*% y)
  # derivatives in variances scaled to one
  W <- diag(t, length(t)) %*% (2 * solve(hessian(function(s) m2(s * t), rep(1, length(t))))) %*% diag(t, length(t))
  P <- Vi - Vi %*% X %*% Phi %*% t(X) %*% Vi
  K <- length(G)
  E <- matrix(0, K, K)
  for (i in 1:K) for (j in 1:K) E[i, j] <- sum(diag(P %*% G[[i]] %*% P %*% G[[j]])) / 2
  E <- solve(E)
  D <- lapply(G, function(g) t(X) %*% Vi %*% g %*% Vi %*% X)
  adj <- 0
  for (i in 1:K) for (j in 1:K)
    adj <- adj + E[i, j] * (t(X) %*% Vi %*% G[[i]] %*% Vi %*% G[[j]] %*% Vi %*% X - D[[i]] %*% Phi %*% D[[j]])
  PhiA <- Phi + 2 * Phi %*% adj %*% Phi
  for (i in 1:p) {
    v <- Phi[i, i]; g <- sapply(D, function(m) (Phi %*% m %*% Phi)[i, i])
    out(name, "estimate", colnames(X)[i], b[i])
    out(name, "se_satterthwaite", colnames(X)[i], sqrt(v))
    out(name, "df_satterthwaite", colnames(X)[i], 2 * v^2 / drop(t(g) %*% W %*% g))
    out(name, "se_kenward_roger", colnames(X)[i], sqrt(PhiA[i, i]))
    out(name, "df_kenward_roger", colnames(X)[i], 2 * v^2 / drop(t(g) %*% E %*% g))
  }
  out(name, "minus2_loglik", "", m2(t))
  for (i in 1:K) out(name, "theta", as.character(i), t[i])
  for (i in 1:K) out(name, "theta_se", as.character(i), sqrt(W[i, i]))
}
dense("dense_equal", "speed", FALSE)
dense("dense_by_arm", "speed", TRUE)
g <- lm(flat ~ base + site + arm, data = d)       # no variance between therapists
s <- coef(summary(g))
for (i in rownames(s)) { out("flat", "estimate", i, s[i, 1]); out("flat", "se", i, s[i, 2]) }
out("flat", "df", "", g$df.residual)
fit <- lmer(flat ~ base + site + arm + (0 + nested | group),
            data = na.omit(d[, c("flat", "base", "site", "arm", "group", "nested")]), control = tight)
out("flat", "variance", "therapist", as.numeric(VarCorr(fit)$group))
dense("flat_by_arm", "flat", TRUE, zero = TRUE)
