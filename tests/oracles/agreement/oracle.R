# Rscript oracle.R > oracle.txt      (in this folder; R with psych)
suppressMessages(library(psych))
out <- function(fit, quantity, a, value) cat(sprintf("%s,%s,%s,%.15g\n", fit, quantity, a, value))
d <- read.csv("ratings.csv")
w <- reshape(d, idvar = "USUBJID", timevar = "RATER", direction = "wide")
m <- as.matrix(na.omit(w)[, -1])
for (alpha in c(0.05, 0.1)) {
  r <- ICC(m, alpha = alpha, lmer = FALSE)$results
  for (i in 1:6) for (q in c("ICC", "F", "df1", "df2", "p", "lower bound", "upper bound"))
    out(paste0("icc", alpha), q, rownames(r)[i], r[i, q])
}
a <- suppressWarnings(alpha(m, check.keys = FALSE))
out("alpha", "estimate", "", a$total$raw_alpha)
n <- nrow(m); k <- ncol(m)
f <- a$feldt
out("alpha", "lower", "", 1 - (1 - a$total$raw_alpha) * qf(0.975, n - 1, (n - 1) * (k - 1)))
out("alpha", "upper", "", 1 - (1 - a$total$raw_alpha) * qf(0.025, n - 1, (n - 1) * (k - 1)))
out("alpha", "psych_lower", "", f$lower.ci[[1]]); out("alpha", "psych_upper", "", f$upper.ci[[1]])
for (i in 1:k) {
  out("alpha", "item_rest", sub("SCORE.", "", colnames(m)[i]), a$item.stats$r.drop[i])
  out("alpha", "without", sub("SCORE.", "", colnames(m)[i]), a$alpha.drop$raw_alpha[i])
}
# measurement error from aov on the complete subjects
l <- data.frame(y = as.vector(m), s = factor(rep(1:n, k)), r = factor(rep(1:k, each = n)))
s <- summary(aov(y ~ s + r, data = l))[[1]]
msr <- s[2, "Mean Sq"]; mse <- s[3, "Mean Sq"]
out("sem", "ms_subject", "", s[1, "Mean Sq"]); out("sem", "ms_rater", "", msr); out("sem", "ms_residual", "", mse)
out("sem", "consistency", "", sqrt(mse))
out("sem", "agreement", "", sqrt(mse + max(0, (msr - mse) / n)))
out("sem", "sd", "", sd(l$y))
out("sem", "mdc95_consistency", "", qnorm(0.975) * sqrt(2) * sqrt(mse))
out("sem", "mdc90_agreement", "", qnorm(0.95) * sqrt(2) * sqrt(mse + max(0, (msr - mse) / n)))
df <- (n - 1) * (k - 1)
out("sem", "consistency_lower", "", sqrt(mse * df / qchisq(0.975, df)))
out("sem", "consistency_upper", "", sqrt(mse * df / qchisq(0.025, df)))
# limits of agreement: first pair of each participant, then all pairs
p <- na.omit(read.csv("pairs.csv"))
one <- p[!duplicated(p$USUBJID), ]
x <- one$WALKWAY - one$STOPWATCH; n <- length(x); z <- qnorm(0.975)
out("ba", "bias", "", mean(x)); out("ba", "sd", "", sd(x))
out("ba", "lower_limit", "", mean(x) - z * sd(x)); out("ba", "upper_limit", "", mean(x) + z * sd(x))
ci <- t.test(x)$conf.int; out("ba", "bias_lower", "", ci[1]); out("ba", "bias_upper", "", ci[2])
out("ba", "approximate_se", "", sd(x) * sqrt(1 / n + z^2 / (2 * (n - 1))))
root <- function(g) uniroot(function(q) pt(q, n - 1, z * sqrt(n)) - g, c(1, 40), tol = 1e-13)$root / sqrt(n)
out("ba", "exact_outer", "", root(0.975)); out("ba", "exact_inner", "", root(0.025))
fit <- summary(lm(d ~ m, data.frame(d = x, m = (one$WALKWAY + one$STOPWATCH) / 2)))$coefficients
out("ba", "slope", "", fit[2, 1]); out("ba", "slope_se", "", fit[2, 2]); out("ba", "slope_p", "", fit[2, 4])
tolerance <- function(n, share, prob) {
  reach <- function(x) sapply(x, function(v) uniroot(function(r) pnorm(v + r) - pnorm(v - r) - share, c(0, 20), tol = 1e-13)$root)
  g <- function(k) integrate(function(x) 2 * dnorm(x, 0, 1 / sqrt(n)) * pchisq((n - 1) * (reach(x) / k)^2, n - 1, lower.tail = FALSE), 0, 9 / sqrt(n), rel.tol = 1e-11, subdivisions = 1000)$value
  uniroot(function(k) g(k) - prob, c(0.5, 12), tol = 1e-11)$root
}
out("ba", "pair_outer", "", tolerance(n, 0.95, 0.975)); out("ba", "pair_inner", "", tolerance(n, 0.95, 0.025))
# several pairs: one-way analysis of variance of the differences, by hand
p$d <- p$WALKWAY - p$STOPWATCH
mi <- table(p$USUBJID); own <- tapply(p$d, p$USUBJID, mean); n <- length(own); N <- nrow(p)
msw <- sum((p$d - own[p$USUBJID])^2) / (N - n); vb <- var(own); part <- (1 - mean(1 / mi)) * msw
tot <- vb + part; se <- sqrt(vb / n)
u <- sqrt(tot + sqrt((vb * ((n - 1) / qchisq(0.025, n - 1) - 1))^2 + (part * ((N - n) / qchisq(0.025, N - n) - 1))^2))
l <- sqrt(max(0, tot - sqrt((vb * ((n - 1) / qchisq(0.975, n - 1) - 1))^2 + (part * ((N - n) / qchisq(0.975, N - n) - 1))^2)))
out("rep", "bias", "", mean(own)); out("rep", "sd", "", sqrt(tot))
out("rep", "upper_limit", "", mean(own) + z * sqrt(tot))
out("rep", "upper_upper", "", mean(own) + z * sqrt(tot) + sqrt(z^2 * vb / n + z^2 * (u - sqrt(tot))^2))
out("rep", "upper_lower", "", mean(own) + z * sqrt(tot) - sqrt(z^2 * vb / n + z^2 * (sqrt(tot) - l)^2))
# balanced: the variance of Bland and Altman 2007, within plus between component
b <- p[p$USUBJID %in% names(mi)[mi >= 2], ]; b <- b[ave(seq_len(nrow(b)), b$USUBJID, FUN = seq_along) <= 2, ]
s <- summary(aov(d ~ factor(USUBJID), b))[[1]]
out("ba2007", "sd", "", sqrt(s[2, "Mean Sq"] + (s[1, "Mean Sq"] - s[2, "Mean Sq"]) / 2)); out("ba2007", "bias", "", mean(b$d))
# effect sizes with noncentral t
y <- d$SCORE[d$RATER == "A"]; v <- d$SCORE[d$RATER == "B"][1:20]
limits <- function(t, df) sapply(c(0.975, 0.025), function(g) uniroot(function(q) pt(t, df, q) - g, c(t - 12, t + 12), tol = 1e-13)$root)
n1 <- length(y); n2 <- length(v); df <- n1 + n2 - 2
sp <- sqrt(((n1 - 1) * var(y) + (n2 - 1) * var(v)) / df); cd <- (mean(y) - mean(v)) / sp; r <- sqrt(n1 * n2 / (n1 + n2))
li <- limits(cd * r, df) / r; J <- exp(lgamma(df / 2) - lgamma((df - 1) / 2) - log(df / 2) / 2)
out("effect", "cohen_d", "", cd); out("effect", "cohen_d_lower", "", li[1]); out("effect", "cohen_d_upper", "", li[2])
out("effect", "hedges_g", "", J * cd); out("effect", "hedges_g_lower", "", J * li[1]); out("effect", "hedges_g_upper", "", J * li[2])
gd <- (mean(y) - mean(v)) / sd(v); li <- limits(gd * r, n2 - 1) / r
out("effect", "glass_delta", "", gd); out("effect", "glass_delta_lower", "", li[1]); out("effect", "glass_delta_upper", "", li[2])
a <- m[, 1]; b <- m[, 2]; dz <- mean(a - b) / sd(a - b); k <- length(a); li <- limits(dz * sqrt(k), k - 1) / sqrt(k)
out("effect", "d_z", "", dz); out("effect", "d_z_lower", "", li[1]); out("effect", "d_z_upper", "", li[2])
out("effect", "d_av", "", mean(a - b) / sqrt((var(a) + var(b)) / 2))
