# Flat procedures by p.adjust, and weighted parametric tests by mvtnorm. Rscript oracle.R > oracle.txt
suppressMessages(library(mvtnorm))
say <- function(...) cat(paste(..., sep = ","), "\n", sep = "")
num <- function(v) sprintf("%.17g", v)
set.seed(20)
sets <- list(a = c(.01, .02, .03, .04, .05), b = c(.04, .011, .049, .0004, .2, .031),
             c = round(runif(9)^2, 4), d = c(.02, .02, .02), e = c(.7), f = c(.5, .9, 1, 0))
for (s in names(sets)) for (m in c("holm", "hochberg", "hommel")) {
  adjusted <- p.adjust(sets[[s]], m)
  for (i in seq_along(adjusted)) say("flat", m, s, num(sets[[s]][i]), num(adjusted[i]))
}
# P(X <= h, Y <= k), TVPACK
for (r in c(-.9999, -.95, -.5, .01, .5, .79, .81, .95, .9999))
  for (h in list(c(2, 2.2), c(-1, .5), c(1.5, 1.5), c(3, -.3)))
    say("bivariate", r, h[1], h[2],
        num(pmvnorm(upper = h, corr = matrix(c(1, r, r, 1), 2), algorithm = TVPACK(1e-15))))
R3 <- list(mixed = c(.3, -.2, .5), dunnett = c(.5, .5, .5))
full <- function(v) matrix(c(1, v[1], v[2], v[1], 1, v[3], v[2], v[3], 1), 3)
for (n in names(R3)) say("trivariate", n, "1.9 2.1 2.3", paste(R3[[n]], collapse = " "),
  num(pmvnorm(upper = c(1.9, 2.1, 2.3), corr = full(R3[[n]]), algorithm = TVPACK(1e-15))))
# Parametric closed test of three hypotheses with weights w and Holm's graph: adjusted p-values of
# Xi et al. (2017), and the factor c at alpha .025, by TVPACK and uniroot
w0 <- c(.5, .3, .2)
G <- matrix(c(0, .5, .5, .5, 0, .5, .5, .5, 0), 3)
p <- c(.013, .021, .018)
weights <- function(J) {
  w <- w0; g <- G; left <- 1:3
  for (j in setdiff(1:3, J)) {
    left <- setdiff(left, j); w2 <- w; g2 <- g * 0
    for (l in left) {
      w2[l] <- w[l] + w[j] * g[j, l]
      for (k in setdiff(left, l)) if (g[l, j] * g[j, l] < 1)
        g2[l, k] <- (g[l, k] + g[l, j] * g[j, k]) / (1 - g[l, j] * g[j, l])
    }
    w2[j] <- 0; w <- w2; g <- g2
  }
  w
}
union <- function(level, R) {
  if (length(level) == 1) return(level)
  1 - pmvnorm(upper = qnorm(level, lower.tail = FALSE), corr = R, algorithm = TVPACK(1e-15))[1]
}
for (n in names(R3)) {
  R <- full(R3[[n]]); adjusted <- numeric(3)
  for (J in list(1:3, c(1, 2), c(1, 3), c(2, 3), 1, 2, 3)) {
    w <- weights(J)[J]; Rj <- R[J, J, drop = FALSE]
    pj <- union(min(p[J] / w) * w, Rj) / sum(w)
    adjusted[J] <- pmax(adjusted[J], pj)
    c <- if (length(J) == 1) 1 else
      uniroot(function(c) union(c * w * .025, Rj) - .025 * sum(w), c(1, 1.9), tol = 1e-14)$root
    say("factor", n, paste(J, collapse = " "), num(pj), num(c))
  }
  for (i in 1:3) say("parametric", n, i, num(p[i]), num(adjusted[i]))
}
