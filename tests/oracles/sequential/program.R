# Estimates after a group-sequential trial, conditional power: rpact (Debian r-cran-rpact).
suppressMessages(library(rpact))
design <- getDesignGroupSequential(kMax = 3, alpha = 0.025, beta = 0.1, sided = 1,
  informationRates = c(0.4, 0.7, 1), typeOfDesign = "asOF", tolerance = 1e-10)
out <- data.frame()
# one arm of normal outcomes with known standard deviation, so that Z = mean * sqrt(n) / sd
cases <- list(
  a = list(n = c(40), m = c(0.62)),
  b = list(n = c(40, 30), m = c(0.2, 0.55)),
  c = list(n = c(40, 30, 30), m = c(0.15, 0.22, 0.25)),
  d = list(n = c(40, 30, 30), m = c(0.15, 0.1, 0.05)))
for (name in names(cases)) {
  x <- cases[[name]]
  data <- getDataset(n = x$n, means = x$m, stDevs = rep(1, length(x$n)))
  res <- getAnalysisResults(design, data, normalApproximation = TRUE, thetaH0 = 0,
    nPlanned = if (length(x$n) < 3) c(40, 30, 30)[(length(x$n) + 1):3] else NA_real_,
    thetaH1 = 0.3, assumedStDev = 1)
  k <- length(x$n)
  out <- rbind(out, data.frame(case = name, look = k,
    mean = sum(x$n * x$m) / sum(x$n), n = sum(x$n),
    rci_lower = res$repeatedConfidenceIntervalLowerBounds[k],
    rci_upper = res$repeatedConfidenceIntervalUpperBounds[k],
    repeated_p = res$repeatedPValues[k],
    mue = res$medianUnbiasedEstimates[k],
    lower = res$finalConfidenceIntervalLowerBounds[k],
    upper = res$finalConfidenceIntervalUpperBounds[k],
    p = res$finalPValues[k],
    cp = if (k < 3) res$conditionalPower[3] else NA))
}
cat("rpact", as.character(packageVersion("rpact")), R.version.string, "\n")
print(format(out, digits = 12), width = 250)
write.csv(out, "estimates.csv", row.names = FALSE)
two <- getDesignGroupSequential(kMax = 3, alpha = 0.05, beta = 0.1, sided = 2,
  informationRates = c(0.4, 0.7, 1), typeOfDesign = "asOF", tolerance = 1e-10)
print(two$criticalValues, digits = 12)
print(getDesignGroupSequential(kMax = 3, alpha = 0.05, sided = 2, informationRates = c(0.4, 0.7, 1),
  typeOfDesign = "P", tolerance = 1e-10)$criticalValues, digits = 12)
print(getDesignCharacteristics(two)$inflationFactor, digits = 12)
