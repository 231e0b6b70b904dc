# Rscript oracle.R > oracle.txt : fit,quantity,weights,arm,visit,value
library(nlme)
library(emmeans)
emm_options(msg.interaction = FALSE, msg.nesting = FALSE)
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d$TRT01P <- factor(d$TRT01P, c("Control", "Low", "High"))
d$AVISIT <- factor(d$AVISIT, c("W2", "W4", "W8", "W12"))
for (v in c("SITEID", "SEX")) d[[v]] <- factor(d[[v]])
d <- d[!is.na(d$AVAL), ]
out <- function(fit, quantity, weights, arm, visit, value)
  cat(sprintf("%s,%s,%s,%s,%s,%.15g\n", fit, quantity, weights, arm, visit, value), sep = "")
show <- function(fit, weights, means) {
  s <- as.data.frame(means)
  visit <- if ("AVISIT" %in% names(s)) as.character(s$AVISIT) else ""
  value <- s[[intersect(c("emmean", "prediction"), names(s))[1]]]
  out(fit, "lsmean", weights, as.character(s$TRT01P), visit, value)
  out(fit, "lsmean_se", weights, as.character(s$TRT01P), visit, s$SE)
  k <- as.data.frame(contrast(means, "trt.vs.ctrl", ref = "Control", adjust = "none"))
  visit <- if ("AVISIT" %in% names(k)) as.character(k$AVISIT) else ""
  arm <- sub(" - Control", "", as.character(k$contrast))
  out(fit, "difference", weights, arm, visit, k$estimate)
  out(fit, "difference_se", weights, arm, visit, k$SE)
}

# one visit: every weight, with interactions of the arm with a factor and with a number
w <- d[d$AVISIT == "W12", ]
one <- lm(AVAL ~ BASE * (TRT01P + SITEID) + SITEID * SEX + TRT01P:SEX, data = w)
show("lm", "equal", emmeans(one, ~ TRT01P))
show("lm", "observed", emmeans(one, ~ TRT01P, weights = "proportional"))
show("lm", "counterfactual", emmeans(one, ~ TRT01P, counterfactuals = "TRT01P"))

# counterfactual means once more without emmeans, with the unconditional variance written out
x <- lapply(levels(w$TRT01P), function(a)
  model.matrix(delete.response(terms(one)), within(w, TRT01P[] <- a))[, names(coef(one))])
names(x) <- levels(w$TRT01P)
for (a in levels(w$TRT01P)) {
  l <- colMeans(x[[a]])
  v <- drop(t(l) %*% vcov(one) %*% l)
  out("by hand", "lsmean", "counterfactual", a, "", sum(l * coef(one)))
  out("by hand", "lsmean_se", "conditional", a, "", sqrt(v))
  extra <- var(drop(x[[a]] %*% coef(one))) / nrow(w)
  out("by hand", "lsmean_se", "unconditional", a, "", sqrt(v + extra))
  if (a != "Control") {
    l <- colMeans(x[[a]] - x$Control)
    v <- drop(t(l) %*% vcov(one) %*% l)
    extra <- var(drop((x[[a]] - x$Control) %*% coef(one))) / nrow(w)
    out("by hand", "difference_se", "unconditional", a, "", sqrt(v + extra))
  }
}

# four visits
many <- gls(AVAL ~ BASE * AVISIT + SITEID + SEX + TRT01P * AVISIT + TRT01P:SEX, data = d,
            correlation = corSymm(form = ~ as.integer(AVISIT) | USUBJID),
            weights = varIdent(form = ~ 1 | AVISIT), method = "REML",
            control = glsControl(tolerance = 1e-12, msTol = 1e-12, maxIter = 500, msMaxIter = 500,
                                 opt = "nlminb"))
# through qdrg, which counts rows: for gls itself emmeans weighs them by the variances of varIdent
grid <- qdrg(formula(many)[-2], data = d, coef = coef(many), vcov = vcov(many), df = Inf)
show("gls", "equal", emmeans(grid, ~ TRT01P | AVISIT))
show("gls", "observed", emmeans(grid, ~ TRT01P | AVISIT, weights = "proportional"))
# each participant counts once: a row's weight is one over the rows of its participant
share <- 1 / as.vector(table(d$USUBJID)[d$USUBJID])
b <- coef(many)
V <- vcov(many)
rhs <- formula(many)[-2]
rows <- list()
for (v in levels(d$AVISIT)) for (a in levels(d$TRT01P)) {
  m <- model.matrix(rhs, within(d, { TRT01P[] <- a; AVISIT[] <- v }))[, names(b)]
  l <- colSums(m * share) / sum(share)
  rows[[paste(a, v)]] <- l
  out("gls", "lsmean", "counterfactual", a, v, sum(l * b))
  out("gls", "lsmean_se", "counterfactual", a, v, sqrt(drop(t(l) %*% V %*% l)))
  if (a != "Control") {
    l <- l - rows[[paste("Control", v)]]
    out("gls", "difference", "counterfactual", a, v, sum(l * b))
    out("gls", "difference_se", "counterfactual", a, v, sqrt(drop(t(l) %*% V %*% l)))
  }
}

# predictions from the gls fit: every row of the data, seen or not, given the other visits
all <- read.csv("data.csv", stringsAsFactors = FALSE)
for (v in c("TRT01P", "AVISIT", "SITEID", "SEX")) all[[v]] <- factor(all[[v]], levels(d[[v]]))
full <- names(which(table(d$USUBJID) == 4))[1]
S <- unclass(getVarCov(many, individual = full))
order <- as.integer(d$AVISIT[d$USUBJID == full])
S <- S[base::order(order), base::order(order)]
m <- model.matrix(rhs, all)[, names(b)]
mu <- drop(m %*% b)
for (i in which(all$USUBJID %in% unique(all$USUBJID)[c(1, 20, 50, 60, 80, 90, 95)])) {
  o <- which(all$USUBJID == all$USUBJID[i] & !is.na(all$AVAL) & seq_len(nrow(all)) != i)
  j <- as.integer(all$AVISIT[i])
  k <- as.integer(all$AVISIT[o])
  e <- mu[i]
  s <- S[j, j]
  x <- m[i, ]
  out("predict", "marginal", "", all$USUBJID[i], all$AVISIT[i], e)
  out("predict", "marginal_se", "", all$USUBJID[i], all$AVISIT[i], sqrt(drop(t(x) %*% V %*% x)))
  out("predict", "marginal_prediction_se", "", all$USUBJID[i], all$AVISIT[i],
      sqrt(s + drop(t(x) %*% V %*% x)))
  if (length(o)) {
    w8 <- solve(S[k, k, drop = FALSE], S[k, j])
    e <- e + sum(w8 * (all$AVAL[o] - mu[o]))
    s <- s - sum(w8 * S[k, j])
    x <- x - drop(t(m[o, , drop = FALSE]) %*% w8)
  }
  out("predict", "conditional", "", all$USUBJID[i], all$AVISIT[i], e)
  out("predict", "conditional_prediction_se", "", all$USUBJID[i], all$AVISIT[i],
      sqrt(s + drop(t(x) %*% V %*% x)))
}
for (type in c("response", "pearson", "normalized"))
  out("residual", type, "", d$USUBJID, d$AVISIT, as.vector(residuals(many, type = type)))
