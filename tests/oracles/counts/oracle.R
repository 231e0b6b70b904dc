# Rscript oracle.R > oracle.txt     (in this folder; R with MASS, sandwich, numDeriv)
# Lines: fit,quantity,key,value.  Standard errors come by numerical derivatives of the
# likelihood or of the stacked estimating equations, by another way than the package's.
suppressMessages({library(MASS); library(sandwich); library(numDeriv)})
options(digits = 15)
out <- function(fit, what, key, v) cat(sprintf("%s,%s,%s,%.12g\n", fit, what, key, v), sep = "")
rows <- na.omit(read.csv("data.csv", stringsAsFactors = TRUE))
total <- aggregate(cbind(falls, years) ~ id + arm + stratum + abc, data = rows, sum)
total <- total[order(total$id), ]
live <- droplevels(total[total$stratum != "D", ])

standardised <- function(f, d, beta) {
  x <- function(a) { e <- d; e$arm <- factor(a, levels(d$arm)); model.matrix(f[-2], e) }
  sapply(levels(d$arm), function(a) exp(drop(x(a) %*% beta)))   # n x arms, a unit of exposure
}

joint <- function(name, f, d, zero_rows = 0) {
  x <- model.matrix(f, d); y <- d$falls; off <- log(d$years); p <- ncol(x)
  ll <- function(b) dnbinom(y, size = 1 / b[p + 1], mu = exp(drop(x %*% b[1:p]) + off), log = TRUE)
  start <- glm.nb(update(f, . ~ . + offset(log(years))), data = d,
                  control = glm.control(epsilon = 1e-12, maxit = 200))
  b <- c(coef(start), 1 / start$theta)
  for (i in 1:6) b <- b - solve(hessian(function(b) sum(ll(b)), b), grad(function(b) sum(ll(b)), b))
  info <- -hessian(function(b) sum(ll(b)), b); v <- solve(info)
  nm <- c(colnames(x), "k")
  for (i in seq_along(b)) out(name, "estimate", nm[i], b[i])
  for (i in seq_along(b)) out(name, "se_joint", nm[i], sqrt(v[i, i]))
  s <- coef(summary(start))
  for (i in 1:p) out(name, "se_conditional", nm[i], s[i, 2])
  out(name, "loglik", "", sum(ll(b)))
  lp <- logLik(glm(update(f, . ~ . + offset(log(years))), data = d, family = poisson))
  out(name, "loglik_poisson", "", as.numeric(lp))
  scores <- jacobian(ll, b)
  robust <- v %*% crossprod(scores) %*% v
  report(name, f, d, b[1:p], v[1:p, 1:p], robust[1:p, 1:p], scores, info, zero_rows)
}

# standardised rates: all rows, of which zero_rows have the rate 0 whatever the arm
report <- function(name, f, d, beta, v, robust, scores, info, zero_rows) {
  p <- length(beta); n <- nrow(d) + zero_rows; arms <- levels(d$arm)
  mean_rate <- function(b) colSums(standardised(f, d, b)) / n
  theta <- mean_rate(beta); J <- jacobian(mean_rate, beta)
  # stacked M-estimation: psi = (score, rate - theta)
  r <- standardised(f, d, beta)
  q <- ncol(info)
  bread <- rbind(cbind(info, matrix(0, q, length(arms))),
                 cbind(-n * J, matrix(0, length(arms), q - p), n * diag(length(arms))))
  psi <- cbind(scores, sweep(r, 2, theta))
  meat <- crossprod(psi)
  if (zero_rows > 0) {
    add <- c(rep(0, q), -theta); meat <- meat + zero_rows * tcrossprod(add)
  }
  stacked <- solve(bread) %*% meat %*% t(solve(bread))
  at <- q + seq_along(arms)
  covs <- list(delta = J %*% v %*% t(J), robust = J %*% robust %*% t(J),
               unconditional = stacked[at, at])
  for (a in seq_along(arms)) out(name, "rate", arms[a], theta[a])
  for (w in names(covs)) {
    for (a in seq_along(arms)) out(name, paste0("rate_se_", w), arms[a], sqrt(covs[[w]][a, a]))
    for (a in 2:length(arms)) {
      l <- rep(0, length(arms)); l[1] <- -1; l[a] <- 1
      if (w == "delta") out(name, "difference", arms[a], sum(l * theta))
      out(name, paste0("difference_se_", w), arms[a], sqrt(drop(l %*% covs[[w]] %*% l)))
    }
  }
}

robust_poisson <- function(name, f, d) {
  g <- glm(update(f, . ~ . + offset(log(years))), data = d, family = poisson,
           control = glm.control(epsilon = 1e-14, maxit = 100))
  b <- coef(g); nm <- names(b)
  for (i in seq_along(b)) out(name, "estimate", nm[i], b[i])
  out(name, "loglik", "", as.numeric(logLik(g)))
  disp <- sum(residuals(g, "pearson")^2) / g$df.residual
  out(name, "dispersion", "", disp)
  se <- list(model = sqrt(diag(vcov(g))), pearson = sqrt(disp * diag(vcov(g))))
  for (h in c("HC0", "HC1", "HC2", "HC3")) se[[tolower(h)]] <- sqrt(diag(vcovHC(g, type = h)))
  for (w in names(se)) for (i in seq_along(b)) out(name, paste0("se_", w), nm[i], se[[w]][i])
  x <- model.matrix(g); mu <- fitted(g)
  report(name, f, d, b, vcovHC(g, type = "HC0"), vcovHC(g, type = "HC0"),
         x * (d$falls - mu), crossprod(x * mu, x), 0)
  g
}

joint("nb", falls ~ arm + stratum + abc, live)
joint("nb_interaction", falls ~ arm * abc + stratum, live)
# stratum D has no event: the limit is the fit without it, with its people at rate 0
joint("nb_empty_level", falls ~ arm + stratum + abc, live,
      sum(total$stratum == "D"))
invisible(robust_poisson("poisson", falls ~ arm + stratum + abc, live))
# the program itself, driven into the limit: coefficients of the others
g <- suppressWarnings(glm(falls ~ arm + stratum + abc + offset(log(years)), data = total,
                          family = poisson, control = glm.control(epsilon = 1e-15, maxit = 60)))
for (i in names(coef(g))) if (i != "stratumD") {
  out("poisson_empty_level", "estimate", i, coef(g)[i])
  out("poisson_empty_level", "se_model", i, sqrt(diag(vcov(g)))[i])
}
# periods of a participant as a cluster
rows <- droplevels(rows[rows$stratum != "D", ])
g <- glm(falls ~ arm + stratum + abc + offset(log(years)), data = rows, family = poisson,
         control = glm.control(epsilon = 1e-14, maxit = 100))
for (i in names(coef(g))) {
  out("clusters", "estimate", i, coef(g)[i])
  out("clusters", "se_hc0", i, sqrt(diag(vcovCL(g, ~ id, type = "HC0", cadjust = FALSE)))[i])
  out("clusters", "se_hc1", i, sqrt(diag(vcovCL(g, ~ id, type = "HC1", cadjust = TRUE)))[i])
}
