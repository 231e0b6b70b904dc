# Rscript oracle.R > oracle.txt      (in this folder; R with emmeans; data of ../mmrm)
suppressMessages(library(emmeans))
options(digits = 15)
d <- read.csv("../mmrm/data.csv", stringsAsFactors = FALSE)
d <- d[!is.na(d$AVAL) & d$AVISIT == "W12", ]
d$TRT01P <- factor(d$TRT01P, levels = c("Control", "Low", "High"))
d$SITEID <- factor(d$SITEID)
out <- function(...) cat(sprintf(...), sep = "\n")
report <- function(name, fit) {
  s <- coef(summary(fit))
  for (i in seq_len(nrow(s))) {
    out("%s,estimate,%s,,%.15g", name, rownames(s)[i], s[i, 1])
    out("%s,se,%s,,%.15g", name, rownames(s)[i], s[i, 2])
    out("%s,p,%s,,%.15g", name, rownames(s)[i], s[i, 4])
  }
  out("%s,df,,,%.15g", name, df.residual(fit))
  grid <- emmeans(fit, ~ TRT01P)
  s <- as.data.frame(grid)
  for (i in seq_len(nrow(s))) {
    out("%s,lsmean,%s,,%.15g", name, s$TRT01P[i], s$emmean[i])
    out("%s,lsmean_se,%s,,%.15g", name, s$TRT01P[i], s$SE[i])
  }
  s <- as.data.frame(contrast(grid, "trt.vs.ctrl", ref = 1, adjust = "none"))
  for (i in seq_len(nrow(s))) {
    out("%s,difference,%s,,%.15g", name, s$contrast[i], s$estimate[i])
    out("%s,difference_se,%s,,%.15g", name, s$contrast[i], s$SE[i])
  }
  s <- as.data.frame(joint_tests(fit))
  for (i in seq_len(nrow(s))) {
    term <- trimws(as.character(s[i, "model term"]))
    out("%s,f,%s,%d,%.15g", name, term, s$df1[i], s$F.ratio[i])
  }
}
report("additive", lm(AVAL ~ BASE + SITEID + TRT01P, data = d))
report("interaction", lm(AVAL ~ BASE + SITEID * TRT01P, data = d))
# every subject of site C in the low arm is left out: one empty cell
report("empty_cell", lm(AVAL ~ BASE + SITEID * TRT01P,
                        data = d[!(d$SITEID == "C" & d$TRT01P == "Low"), ]))
