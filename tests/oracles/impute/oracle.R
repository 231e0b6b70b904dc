# Conditional mean imputation and jackknife by nlme::gls and plain matrices.
# Rscript oracle.R > oracle.txt
suppressMessages(library(nlme))
control <- glsControl(maxIter = 500, msMaxIter = 1000, tolerance = 1e-12, msTol = 1e-14,
                      opt = "nlminb")

fit_gls <- function(d, formula) {
  m <- gls(formula, d, correlation = corSymm(form = ~ v | id),
           weights = varIdent(form = ~ 1 | visit), method = "REML", na.action = na.omit,
           control = control)
  v <- levels(d$visit)
  sd <- m$sigma * coef(m$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)[v]
  k <- length(v)
  full <- names(which(table(d$id[!is.na(d$y)]) == k))[1]
  corr <- corMatrix(m$modelStruct$corStruct)[[full]]
  list(beta = coef(m), sigma = corr * outer(sd, sd), loglik = as.numeric(logLik(m)))
}

impute <- function(d, formula, par, own_sigma, strategy, reference) {
  # d: complete grid, sorted by id and visit; y with NA; first: first visit affected (Inf: none)
  rhs <- formula[-2]
  x <- model.matrix(rhs, d)
  dr <- d; dr$arm[] <- reference
  xr <- model.matrix(rhs, dr)
  k <- nlevels(d$visit)
  out <- d$y
  for (id in unique(d$id)) {
    at <- which(d$id == id)
    own <- par[[as.character(d$arm[at[1]])]]; ref <- par[[reference]]
    mu <- drop(x[at, ] %*% own$beta); mr <- drop(xr[at, ] %*% ref$beta)
    s <- own$sigma; r <- ref$sigma
    first <- d$first[at[1]]
    if (is.finite(first) && strategy != "mar") {
      b <- seq_len(k) < first; a <- !b
      if (strategy == "copy_reference") { mu <- mr; s <- r
      } else if (strategy == "last_mean_carried_forward") { mu[a] <- mu[first - 1]
      } else {
        if (strategy == "jump_to_reference") mu[a] <- mr[a]
        else mu[a] <- mu[first - 1] + mr[a] - mr[first - 1]
        c1 <- r[a, b, drop = FALSE] %*% solve(r[b, b, drop = FALSE])
        t <- s
        t[a, b] <- c1 %*% s[b, b]; t[b, a] <- t(t[a, b])
        t[a, a] <- r[a, a] - c1 %*% (r[b, b] - s[b, b]) %*% t(c1)
        s <- t
      }
    }
    y <- d$y[at]; o <- !is.na(y)
    if (all(o)) next
    fill <- if (any(o)) drop(mu[!o] + s[!o, o, drop = FALSE] %*%
                             solve(s[o, o, drop = FALSE], y[o] - mu[o])) else mu
    out[at[!o]] <- fill
  }
  out
}

estimate <- function(d, y, analysis, visit) {
  d$y <- y
  coef(lm(analysis, d[d$visit == visit, ]))[["armtest"]]
}

prepare <- function(path, names, arms) {
  d <- read.csv(path, colClasses = "character")
  d <- data.frame(id = d[[names["id"]]], visit = d[[names["visit"]]], arm = d[[names["arm"]]],
                  base = as.numeric(d[[names["base"]]]), y = suppressWarnings(as.numeric(d[[names["y"]]])),
                  site = if ("SITE" %in% colnames(d)) d$SITE else "",
                  event = if ("EVENT" %in% colnames(d)) d$EVENT else "")
  d$arm <- factor(ifelse(d$arm == arms[1], "ref", "test"), levels = c("ref", "test"))
  d
}

strategies <- c("mar", "jump_to_reference", "copy_reference", "copy_increments_in_reference",
                "last_mean_carried_forward")

run <- function(label, d, formula, analysis, visits, separate = FALSE, jackknife = TRUE,
                deltas = 0) {
  d$visit <- factor(d$visit, levels = visits); d$v <- as.integer(d$visit)
  d <- d[order(d$id, d$v), ]
  fits <- function(d, exclude) {
    m <- d
    if (exclude) m$y[m$v >= m$first] <- NA
    if (!separate) { f <- fit_gls(m, formula); return(list(ref = f, test = f)) }
    one <- y ~ visit * base
    out <- lapply(c("ref", "test"), function(a) fit_gls(m[m$arm == a, ], one))
    names(out) <- c("ref", "test"); out
  }
  ids <- unique(d$id)
  less <- if (jackknife) lapply(ids, function(i) d[d$id != i, ]) else list()
  last <- visits[length(visits)]
  after <- !is.na(d$y) & d$v >= d$first
  models <- list(); loo <- list()
  for (ex in c(TRUE, FALSE)) {
    key <- as.character(ex)
    if (!ex && !any(after)) { models[[key]] <- models[["TRUE"]]; loo[[key]] <- loo[["TRUE"]]; next }
    models[[key]] <- fits(d, ex); loo[[key]] <- lapply(less, fits, ex)
  }
  fo <- if (separate) y ~ visit * base else formula
  for (s in strategies) {
    key <- as.character(s != "mar")
    y <- impute(d, fo, models[[key]], NULL, s, "ref")
    part <- Map(function(k, f) impute(k, fo, f, NULL, s, "ref"), less, loo[[key]])
    for (delta in if (s %in% c("mar", "jump_to_reference")) deltas else 0) {
      add <- function(k, y) y + delta * (is.na(k$y) & k$arm == "test")
      e <- estimate(d, add(d, y), analysis, last)
      se <- NA
      if (jackknife) {
        e1 <- unlist(Map(function(k, y) estimate(k, add(k, y), analysis, last), less, part))
        n <- length(ids)
        se <- sqrt((n - 1) / n * sum((e1 - mean(e1))^2))
      }
      cat(sprintf("%s,%s,%g,%.12g,%.12g\n", label, s, delta, e, se))
    }
  }
}

own <- prepare("data.csv", c(id = "ID", visit = "VISIT", arm = "ARM", base = "BASE", y = "CHG"),
               "Usual")
weeks <- c("Week 4", "Week 8", "Week 12", "Week 24")
own$first <- ifelse(own$event == "", Inf, match(own$event, weeks))
run("one covariance", own, y ~ arm * visit + base * visit + site, y ~ base + site + arm, weeks)
run("covariance by arm", own, y ~ arm * visit * base, y ~ base + arm, weeks, separate = TRUE,
    jackknife = FALSE)

shared <- Sys.getenv("ORACLES")
if (shared != "") {
  a <- prepare(file.path(shared, "antidepressant_data.csv"),
               c(id = "PATIENT", visit = "VISIT", arm = "THERAPY", base = "BASVAL", y = "CHANGE"),
               "PLACEBO")
  grid <- expand.grid(visit = c("4", "5", "6", "7"), id = unique(a$id), stringsAsFactors = FALSE)
  key <- a[!duplicated(a$id), c("id", "arm", "base", "site", "event")]
  a <- merge(merge(grid, key), a[c("id", "visit", "y")], all.x = TRUE)
  ice <- read.csv(file.path(shared, "antidepressant_ice.csv"), colClasses = "character")
  hit <- match(a$id, ice$PATIENT)
  a$first <- ifelse(is.na(hit), Inf, match(ice$VISIT[hit], c("4", "5", "6", "7")))
  run("antidepressant", a, y ~ arm * visit + base * visit, y ~ base + arm, c("4", "5", "6", "7"),
      deltas = c(0, 1, 2, 3, 5, 7))
}
