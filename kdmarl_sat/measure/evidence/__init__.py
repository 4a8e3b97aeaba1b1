"""Evidence about the C engine: static analysis, deviations from MISRA C:2012, coverage, and value analysis."""
