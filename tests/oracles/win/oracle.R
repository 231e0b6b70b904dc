# Rscript oracle.R > oracle.txt   (in this folder; R alone)
# Every pair is compared in a loop; nothing is ranked.
options(digits = 15)
d <- read.csv("data.csv")
out <- function(...) cat(sprintf("%s,%s,%s,%.15g", ...), sep = "\n")
cat("R", as.character(getRversion()), "\n", file = "versions.txt")

one_column <- function(name) function(a, b) sign(a[[name]] - b[[name]])
priority <- function(a, b) {         # death, then walking ability, then speed
  if (a$DEAD != b$DEAD) return(sign(b$DEAD - a$DEAD))
  if (a$DEAD == 1) return(0)
  if (a$FAC != b$FAC) return(sign(a$FAC - b$FAC))
  sign(a$SPEED - b$SPEED)
}
pairs <- function(one, zero, judge) {
  m <- matrix(0, nrow(one), nrow(zero))
  for (i in seq_len(nrow(one))) for (j in seq_len(nrow(zero))) m[i, j] <- judge(one[i, ], zero[j, ])
  m
}
# means, and covariance of (wins, losses, covariate gap) by the projections on each arm
stratum <- function(one, zero, judge, covariate) {
  m <- pairs(one, zero, judge)
  W <- (m > 0) * 1; L <- (m < 0) * 1
  a <- cbind(rowMeans(W), rowMeans(L)); b <- cbind(colMeans(W), colMeans(L))
  gap <- numeric(0)
  if (!is.null(covariate)) {
    a <- cbind(a, one[[covariate]]); b <- cbind(b, -zero[[covariate]])
    gap <- mean(one[[covariate]]) - mean(zero[[covariate]])
  }
  list(mean = c(mean(W), mean(L), gap), cov = var(a) / nrow(a) + var(b) / nrow(b),
       A = var(a) / nrow(a), B = var(b) / nrow(b),
       n1 = nrow(a), n0 = nrow(b), W = sum(W), L = sum(L), T = sum(m == 0))
}
analyse <- function(name, data, arm, judge, strata = NULL, covariate = NULL) {
  parts <- list()
  groups <- if (is.null(strata)) rep("all", nrow(data)) else data[[strata]]
  for (g in sort(unique(groups))) {
    one <- data[groups == g & data$ARM == arm, ]; zero <- data[groups == g & data$ARM == "Control", ]
    if (nrow(one) > 0 && nrow(zero) > 0)
      parts[[length(parts) + 1]] <- stratum(one, zero, judge, covariate)
  }
  w <- sapply(parts, function(p) p$n1 * p$n0 / (p$n1 + p$n0)); w <- w / sum(w)
  mean <- Reduce(`+`, Map(function(p, v) v * p$mean, parts, w))
  cov <- Reduce(`+`, Map(function(p, v) v^2 * p$cov, parts, w))
  A <- Reduce(`+`, Map(function(p, v) v^2 * p$A, parts, w))
  B <- Reduce(`+`, Map(function(p, v) v^2 * p$B, parts, w))
  if (length(mean) > 2) {
    slope <- cov[1:2, 3] / cov[3, 3]
    mean <- mean[1:2] - slope * mean[3]
    cov <- cov[1:2, 1:2] - slope %*% t(cov[1:2, 3])
  }
  theta <- 0.5 + (mean[1] - mean[2]) / 2
  v <- (cov[1, 1] + cov[2, 2] - 2 * cov[1, 2]) / 4
  out(name, "counts", c("wins", "losses", "ties"),
      c(sum(sapply(parts, `[[`, "W")), sum(sapply(parts, `[[`, "L")), sum(sapply(parts, `[[`, "T"))))
  out(name, "win_probability", c("estimate", "se"), c(theta, sqrt(v)))
  out(name, "win_odds", c("estimate", "se"), c(theta / (1 - theta), sqrt(v) / (theta * (1 - theta))))
  out(name, "net_benefit", c("estimate", "se"), c(mean[1] - mean[2], 2 * sqrt(v)))
  lv <- cov[1, 1] / mean[1]^2 + cov[2, 2] / mean[2]^2 - 2 * cov[1, 2] / (mean[1] * mean[2])
  out(name, "win_ratio", c("estimate", "se"), c(mean[1] / mean[2], sqrt(lv)))
  if (is.null(strata) && is.null(covariate)) {
    s <- function(M) (M[1, 1] + M[2, 2] - 2 * M[1, 2]) / 4
    df <- v^2 / (s(A)^2 / (parts[[1]]$n1 - 1) + s(B)^2 / (parts[[1]]$n0 - 1))
    out(name, "df", "", df)
  }
}
fac <- d[!is.na(d$FAC), ]
full <- d[d$DEAD == 1 | (!is.na(d$FAC) & !is.na(d$SPEED)), ]
for (arm in c("Robot", "Usual")) {
  analyse(paste(arm, "FAC"), fac, arm, one_column("FAC"))
  analyse(paste(arm, "FAC by SITE"), fac, arm, one_column("FAC"), strata = "SITE")
  analyse(paste(arm, "FAC adjusted"), fac, arm, one_column("FAC"), covariate = "BASE")
  analyse(paste(arm, "FAC by SITE adjusted"), fac, arm, one_column("FAC"), "SITE", "BASE")
  analyse(paste(arm, "priority"), full, arm, priority)
  two <- fac[fac$ARM %in% c(arm, "Control"), ]
  w <- wilcox.test(two$FAC[two$ARM == arm], two$FAC[two$ARM == "Control"], exact = FALSE, correct = FALSE)
  out(paste(arm, "FAC"), "wilcoxon", c("w", "p"), c(w$statistic, w$p.value))
}
