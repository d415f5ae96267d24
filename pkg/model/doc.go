// Package model holds the nouns of Flaggery (subject, bucket, feature, variant,
// rollout, A/B test, group, override) and the rules that hold for each of them,
// whatever its source: names, ranges, order, and the codes of errors. It is pure:
// no I/O, no clock, no goroutine.
package model
