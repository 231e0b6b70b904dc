# Rscript oracle.R > oracle.txt   (in this folder; R with metafor)
suppressMessages(library(metafor))
options(digits = 15, warn = -1)
d <- read.csv("data.csv"); d <- d[!is.na(d$Y), ]
out <- function(...) cat(sprintf("%s,%s,%s,%.15g", ...), sep = "\n")
cat("R", as.character(getRversion()), "metafor", as.character(packageVersion("metafor")), "\n",
    file = "versions.txt")
z <- qnorm(0.975)

# risks: Wilson by prop.test, Clopper-Pearson by binom.test
for (arm in c("Control", "Robot", "Usual")) {
  y <- d$Y[d$ARM == arm]
  w <- prop.test(sum(y), length(y), correct = FALSE)$conf.int
  out(arm, "wilson", c("lower", "upper"), w)
  out(arm, "clopper_pearson", c("lower", "upper"), binom.test(sum(y), length(y))$conf.int)
}

# exact conditional odds ratio to full precision (fisher.test and mantelhaen.test stop at 1e-4)
exact <- function(t) {                # t: arm x outcome x stratum, arm and event first
  d <- 1; low <- 0
  for (s in seq_len(dim(t)[3])) {
    n1 <- sum(t[1, , s]); n0 <- sum(t[2, , s]); m <- sum(t[, 1, s])
    k <- max(0, m - n0):min(m, n1)
    w <- choose(n1, k) * choose(n0, m - k)
    low <- low + k[1]
    full <- rep(0, length(d) + length(w) - 1)
    for (i in seq_along(w)) full[i - 1 + seq_along(d)] <- full[i - 1 + seq_along(d)] + w[i] * d
    d <- full
  }
  x <- low + seq_along(d) - 1; seen <- sum(t[1, 1, ])
  p <- function(b) { w <- d * exp(b * (x - seen)); w / sum(w) }
  root <- function(f) exp(uniroot(f, c(-9, 9), tol = 1e-13)$root)
  c(root(function(b) sum(p(b) * x) - seen), root(function(b) sum(p(b)[x >= seen]) - 0.025),
    root(function(b) 0.025 - sum(p(b)[x <= seen])))
}

# the maximum under a hypothesis, by a search instead of a formula
null_risk <- function(x1, n1, x0, n0, p1_of, low, high) {
  f <- function(p0) {
    p1 <- p1_of(p0)
    dbinom(x1, n1, p1, log = TRUE) + dbinom(x0, n0, p0, log = TRUE)
  }
  e <- 1e-12
  optimize(f, c(low + e, high - e), maximum = TRUE, tol = 1e-14)$maximum
}
mn <- function(x1, n1, x0, n0, measure, theta) {
  N <- n1 + n0
  if (measure == "difference") {
    p0 <- null_risk(x1, n1, x0, n0, function(p) p + theta, max(0, -theta), min(1, 1 - theta))
    p1 <- p0 + theta
    (x1 / n1 - x0 / n0 - theta) / sqrt((p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0) * N / (N - 1))
  } else if (measure == "ratio") {
    p0 <- null_risk(x1, n1, x0, n0, function(p) p * theta, 0, min(1, 1 / theta))
    p1 <- p0 * theta
    (x1 / n1 - theta * x0 / n0) /
      sqrt((p1 * (1 - p1) / n1 + theta^2 * p0 * (1 - p0) / n0) * N / (N - 1))
  } else {
    p0 <- null_risk(x1, n1, x0, n0, function(p) p * theta / (1 - p + p * theta), 0, 1)
    p1 <- p0 * theta / (1 - p0 + p0 * theta)
    (x1 - n1 * p1) * sqrt((1 / (n1 * p1 * (1 - p1)) + 1 / (n0 * p0 * (1 - p0))) * (N - 1) / N)
  }
}
limits <- function(x1, n1, x0, n0, measure) {
  if (measure == "difference") {
    e <- x1 / n1 - x0 / n0; f <- function(t) mn(x1, n1, x0, n0, measure, t)
    c(uniroot(function(t) f(t) - z, c(-0.9999, e), tol = 1e-12)$root,
      uniroot(function(t) f(t) + z, c(e, 0.9999), tol = 1e-12)$root)
  } else {
    e <- if (measure == "ratio") log(x1 * n0 / (n1 * x0)) else log(x1 * (n0 - x0) / (x0 * (n1 - x1)))
    f <- function(t) mn(x1, n1, x0, n0, measure, exp(t))
    exp(c(uniroot(function(t) f(t) - z, c(e - 6, e), tol = 1e-12)$root,
          uniroot(function(t) f(t) + z, c(e, e + 6), tol = 1e-12)$root))
  }
}

# Chan and Zhang by brute force: order by the score statistic, scan the nuisance
worst <- function(x1, n1, x0, n0, delta) {
  s <- outer(0:n1, 0:n0, Vectorize(function(a, b) {
    if (abs(a / n1 - b / n0 - delta) < 1e-12) 0 else mn(a, n1, b, n0, "difference", delta)
  }))
  keep <- s >= s[x1 + 1, x0 + 1] - 1e-7
  grid <- seq(max(0, -delta), min(1, 1 - delta), length.out = 4001)
  max(vapply(grid, function(p)
    sum(outer(dbinom(0:n1, n1, p + delta), dbinom(0:n0, n0, p)) * keep), 0))
}
for (case in list(c(9, 10, 3, 10), c(5, 12, 1, 9))) {
  x1 <- case[1]; n1 <- case[2]; x0 <- case[3]; n0 <- case[4]
  name <- paste(case, collapse = " ")
  low <- uniroot(function(t) worst(x1, n1, x0, n0, t) - 0.025, c(-0.95, x1 / n1 - x0 / n0), tol = 1e-7)$root
  high <- -uniroot(function(t) worst(n1 - x1, n1, n0 - x0, n0, t) - 0.025,
                   c(-0.95, x0 / n0 - x1 / n1), tol = 1e-7)$root
  out(name, "chan_zhang", c("lower", "upper", "p"),
      c(low, high, 2 * min(worst(x1, n1, x0, n0, 0), worst(n1 - x1, n1, n0 - x0, n0, 0))))
}

for (arm in c("Robot", "Usual")) {
  two <- d[d$ARM %in% c(arm, "Control"), ]
  a <- two$Y[two$ARM == arm]; b <- two$Y[two$ARM == "Control"]
  x1 <- sum(a); n1 <- length(a); x0 <- sum(b); n0 <- length(b)
  for (m in c("difference", "ratio", "odds_ratio"))
    out(arm, paste0("miettinen_nurminen ", m), c("lower", "upper"), limits(x1, n1, x0, n0, m))
  w1 <- prop.test(x1, n1, correct = FALSE)$conf.int; w0 <- prop.test(x0, n0, correct = FALSE)$conf.int
  p1 <- x1 / n1; p0 <- x0 / n0
  out(arm, "newcombe", c("lower", "upper"),
      c(p1 - p0 - sqrt((p1 - w1[1])^2 + (w0[2] - p0)^2), p1 - p0 + sqrt((w1[2] - p1)^2 + (p0 - w0[1])^2)))
  w <- prop.test(c(x1, x0), c(n1, n0), correct = FALSE)
  out(arm, "wald difference", c("lower", "upper"), w$conf.int)
  out(arm, "pearson", c("statistic", "p"), c(w$statistic, w$p.value))
  w <- prop.test(c(x1, x0), c(n1, n0), correct = TRUE)
  out(arm, "yates", c("statistic", "p"), c(w$statistic, w$p.value))
  f <- fisher.test(matrix(c(x1, n1 - x1, x0, n0 - x0), 2))
  out(arm, "exact odds ratio", c("estimate", "lower", "upper"),
      exact(array(c(x1, x0, n1 - x1, n0 - x0), c(2, 2, 1))))
  out(arm, "fisher", c("estimate", "lower", "upper", "p"), c(f$estimate, f$conf.int, f$p.value))
  for (m in c("RR", "OR")) {
    e <- escalc(m, ai = x1, n1i = n1, ci = x0, n2i = n0)
    out(arm, paste("wald", m), c("estimate", "se"), c(exp(e$yi), sqrt(e$vi)))
  }
  t <- table(factor(two$ARM, c(arm, "Control")), factor(two$Y, c(1, 0)), two$SITE)
  g <- mantelhaen.test(t, correct = FALSE)
  out(arm, "mh odds ratio", c("estimate", "lower", "upper", "statistic", "p"),
      c(g$estimate, g$conf.int, g$statistic, g$p.value))
  g <- mantelhaen.test(t, correct = TRUE)
  out(arm, "cmh corrected", c("statistic", "p"), c(g$statistic, g$p.value))
  g <- mantelhaen.test(t, exact = TRUE)
  out(arm, "exact odds ratio by site", c("estimate", "lower", "upper"), exact(t))
  out(arm, "exact common odds ratio", c("estimate", "lower", "upper", "p"),
      c(g$estimate, g$conf.int, g$p.value))
  tab <- data.frame(ai = t[1, 1, ], bi = t[1, 2, ], ci = t[2, 1, ], di = t[2, 2, ])
  for (m in c("RD", "RR", "OR")) {
    r <- rma.mh(ai, bi, ci, di, data = tab, measure = m, add = 0, drop00 = FALSE)
    out(arm, paste("rma.mh", m), c("estimate", "se", "lower", "upper"),
        c(r$beta, r$se, r$ci.lb, r$ci.ub))
    if (m == "OR")
      out(arm, "homogeneity", c("breslow_day", "breslow_day_p", "tarone", "tarone_p"),
          c(r$BD, r$BDp, r$TA, r$TAp))
  }
}

# a made-up trial of the R random numbers, whose stratified Newcombe interval is published
set.seed(1)
rsp <- c(sample(c(TRUE, FALSE), size = 40, prob = c(3 / 4, 1 / 4), replace = TRUE),
         sample(c(TRUE, FALSE), size = 40, prob = c(1 / 2, 1 / 2), replace = TRUE))
f1 <- sample(c("a", "b"), 80, TRUE); f2 <- sample(c("x", "y", "z"), 80, TRUE)
write.csv(data.frame(arm = rep(c("A", "B"), each = 40), f1, f2, y = as.integer(rsp)),
          "stratified.csv", row.names = FALSE)
