# Rscript oracle.R > oracle.txt      (in this folder; R with survival)
suppressMessages(library(survival))
d <- read.csv("data.csv", stringsAsFactors = FALSE)
d$TRT01P <- factor(d$TRT01P, levels = c("Control", "Low", "High"))
d$SITEID <- factor(d$SITEID)
out <- function(fit, what, a, b, value)
  cat(sprintf("%s,%s,%s,%s,%.15g", fit, what, a, b, value), sep = "\n")
tight <- coxph.control(eps = 1e-14, iter.max = 100, toler.chol = 1e-15)
forms <- list(
  right = Surv(STOP, EVENT) ~ TRT01P + AGE + SPEED,
  right_strata = Surv(STOP, EVENT) ~ TRT01P + AGE + SPEED + strata(SITEID),
  entry = Surv(START, STOP, EVENT) ~ TRT01P + AGE + SPEED,
  entry_strata = Surv(START, STOP, EVENT) ~ TRT01P * AGE + SPEED + strata(SITEID))
last <- d[!duplicated(d$USUBJID, fromLast = TRUE), ]
for (form in names(forms)) for (ties in c("efron", "breslow", "exact")) {
  key <- paste(form, ties, sep = "_")
  rows <- if (startsWith(form, "right")) last else d
  if (form == "entry_strata" && ties == "exact") next
  if (form == "entry" && ties == "exact") {
    # coxph lists all subsets for start-stop rows, without end. The same likelihood from
    # right-censored rows: each event time a stratum of those at risk at it.
    rows <- rows[complete.cases(rows), ]
    sets <- do.call(rbind, lapply(sort(unique(rows$STOP[rows$EVENT == 1])), function(t) {
      r <- rows[rows$START < t & rows$STOP >= t, ]
      data.frame(r[c("TRT01P", "AGE", "SPEED")], at = t, case = r$EVENT * (r$STOP == t)) }))
    f <- coxph(Surv(rep(1, nrow(sets)), case) ~ TRT01P + AGE + SPEED + strata(at), sets,
               ties = "exact", control = tight)
    for (i in names(coef(f))) {
      out(key, "estimate", i, "", coef(f)[i])
      out(key, "se", i, "", sqrt(diag(vcov(f)))[i])
    }
    out(key, "loglik", "null", "", f$loglik[1]); out(key, "loglik", "best", "", f$loglik[2])
    out(key, "test", "score", "", f$score)
    next
  }
  f <- coxph(forms[[form]], rows, ties = ties, control = tight, x = TRUE, model = TRUE)
  s <- summary(f)
  for (i in names(coef(f))) {
    out(key, "estimate", i, "", coef(f)[i])
    out(key, "se", i, "", sqrt(diag(vcov(f)))[i])
  }
  out(key, "n", "", "", f$n); out(key, "events", "", "", f$nevent)
  out(key, "loglik", "null", "", f$loglik[1]); out(key, "loglik", "best", "", f$loglik[2])
  out(key, "test", "likelihood_ratio", "", s$logtest["test"])
  out(key, "test", "score", "", f$score); out(key, "test", "wald", "", f$wald.test)
  out(key, "concordance", "", "", f$concordance["concordance"])
  if (ties == "exact") next
  for (tr in c("km", "rank", "identity", "log")) {
    z <- cox.zph(f, transform = tr)
    for (i in rownames(z$table)) out(key, paste0("zph_", tr), i, "", z$table[i, "chisq"])
  }
  z <- cox.zph(f, transform = "km", terms = FALSE)
  y <- z$y[order(z$time), , drop = FALSE]
  for (i in colnames(y)) out(key, "schoenfeld_mean_square", i, "", mean(y[, i]^2))
  score <- residuals(f, "score")
  if (form == "entry") for (i in seq_len(nrow(score))) for (j in seq_len(ncol(score)))
    out(key, "score_residual", i, j, score[i, j])
  r <- coxph(update(forms[[form]], . ~ . + cluster(USUBJID)), rows, ties = ties, control = tight)
  for (i in names(coef(r))) out(key, "robust_se", i, "", sqrt(diag(vcov(r)))[i])
  out(key, "test", "robust_wald", "", r$wald.test)
  out(key, "test", "robust_score", "", r$rscore)
  w <- coxph(forms[[form]], rows, ties = ties, control = tight, weights = WEIGHT, robust = FALSE)
  wr <- coxph(update(forms[[form]], . ~ . + cluster(USUBJID)), rows, ties = ties, control = tight,
              weights = WEIGHT)
  for (i in names(coef(w))) {
    out(key, "weighted_estimate", i, "", coef(w)[i])
    out(key, "weighted_se", i, "", sqrt(diag(vcov(w)))[i])
    out(key, "weighted_robust_se", i, "", sqrt(diag(vcov(wr)))[i])
  }
  new <- data.frame(TRT01P = "Low", AGE = 70, SPEED = 0.9)
  if (grepl("strata", form)) new <- merge(new, data.frame(SITEID = c("A", "B", "C", "D")))
  b <- survfit(f, newdata = new)
  layer <- if (is.null(b$strata)) rep("", length(b$time)) else
    rep(new$SITEID, b$strata)
  se <- if (isTRUE(b$logse)) b$std.err else b$std.err / b$surv
  for (i in which(b$n.event > 0)) {
    out(key, "cumhaz", layer[i], b$time[i], b$cumhaz[i])
    out(key, "cumhaz_se", layer[i], b$time[i], se[i])
  }
}
