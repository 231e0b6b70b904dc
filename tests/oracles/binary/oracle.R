# Rscript oracle.R > oracle.txt   (in this folder; R with brglm, survival, sandwich)
suppressMessages({library(brglm); library(survival); library(sandwich)})
options(digits = 15)
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d$TRT <- factor(d$TRT, levels = c("Control", "High", "Low"))
out <- function(...) cat(sprintf("%s,%s,%s,%.15g", ...), sep = "\n")
cat("R", as.character(getRversion()), "brglm", as.character(packageVersion("brglm")),
    "survival", as.character(packageVersion("survival")),
    "sandwich", as.character(packageVersion("sandwich")), "\n", file = "versions.txt")

# maximum likelihood
fit <- glm(Y ~ TRT + AGE + BASE, binomial, d, control = glm.control(epsilon = 1e-14, maxit = 100))
s <- coef(summary(fit))
out("ml", "estimate", rownames(s), s[, 1]); out("ml", "se", rownames(s), s[, 2])
out("ml", "loglik", "", as.numeric(logLik(fit)))
for (k in c("HC0", "HC1", "HC3"))
  out("ml", k, rownames(s), sqrt(diag(vcovHC(fit, type = k))))

# Firth: brglm's estimates, and a maximisation of the penalised likelihood of our own
firth <- function(name, formula, y, data) {
  b <- brglm(formula, binomial, data, method = "brglm.fit", pl = TRUE,
             control.brglm = brglm.control(br.epsilon = 1e-12, br.maxit = 1000))
  out(paste0(name, "_brglm"), "estimate", names(coef(b)), coef(b))
  s <- coef(summary(b))
  out(paste0(name, "_brglm"), "se", rownames(s), s[, 2])
  x <- model.matrix(b); y <- data[rownames(x), y]
  q <- qr(x); R <- qr.R(q); Q <- qr.Q(q)
  value <- function(g) {
    eta <- drop(Q %*% g); p <- plogis(eta)
    sum(y * plogis(eta, log.p = TRUE) + (1 - y) * plogis(-eta, log.p = TRUE)) +
      0.5 * as.numeric(determinant(crossprod(Q * sqrt(p * (1 - p))))$modulus)
  }
  slope <- function(g) {
    p <- plogis(drop(Q %*% g)); w <- p * (1 - p); U <- Q * sqrt(w)
    h <- rowSums((U %*% solve(crossprod(U))) * U)
    drop(crossprod(Q, y - p + h * (0.5 - p)))
  }
  climb <- function(start, free) {    # maximise over start + free %*% a
    f <- function(a) -value(start + drop(free %*% a))
    g <- function(a) -drop(crossprod(free, slope(start + drop(free %*% a))))
    a <- rep(0, ncol(free))
    for (i in 1:6) {
      o <- optim(a, f, g, method = "BFGS", control = list(reltol = 1e-16, maxit = 2000))
      a <- o$par
    }
    list(at = start + drop(free %*% a), value = -o$value)
  }
  p <- ncol(x)
  top <- climb(rep(0, p), diag(p))
  beta <- solve(R, top$at)
  out(name, "estimate", colnames(x), beta); out(name, "loglik", "", top$value)
  P <- plogis(drop(x %*% beta))
  out(name, "se", colnames(x), sqrt(diag(solve(crossprod(x * sqrt(P * (1 - P)))))))
  z <- qnorm(0.975)
  rows <- diag(p); rownames(rows) <- colnames(x)
  extra <- rep(0, p); extra[grep("TRTHigh", colnames(x))] <- 1; extra[grep("TRTLow", colnames(x))] <- -1
  if (sum(abs(extra)) == 2) rows <- rbind(rows, "High-Low" = extra)
  for (i in seq_len(nrow(rows))) {
    way <- drop(solve(t(R)) %*% rows[i, ])
    est <- sum(way * top$at); unit <- way / sum(way^2)
    free <- qr.Q(qr(cbind(way, diag(p))))[, 2:p, drop = FALSE]
    root <- function(v) {
      c1 <- climb(top$at + unit * (v - est), free)
      sign(est - v) * sqrt(max(0, 2 * (top$value - c1$value)))
    }
    se <- sqrt(sum((solve(crossprod(Q * sqrt(P * (1 - P)))) %*% way) * way))
    lo <- uniroot(function(v) root(v) - z, c(est - 12 * se, est), tol = 1e-12)$root
    hi <- uniroot(function(v) root(v) + z, c(est, est + 12 * se), tol = 1e-12)$root
    out(name, "row", rownames(rows)[i], est)
    out(name, "lower", rownames(rows)[i], lo); out(name, "upper", rownames(rows)[i], hi)
    out(name, "root", rownames(rows)[i], root(0))
  }
}
complete <- d[!is.na(d$Y) & !is.na(d$BASE), ]
firth("firth", Y ~ TRT + AGE + BASE, "Y", complete)
firth("firth_separated", RARE ~ TRT + AGE + BASE, "RARE", d[!is.na(d$BASE), ])

# conditional on the sites
c1 <- clogit(Y ~ TRT + AGE + BASE + strata(SITE), d, method = "exact",
             control = coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 100))
s <- coef(summary(c1))
out("conditional", "estimate", rownames(s), s[, 1]); out("conditional", "se", rownames(s), s[, 3])
out("conditional", "loglik", "", c1$loglik[2])
