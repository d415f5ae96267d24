// Package model holds the nouns of Flaggery (subject, bucket, feature, variant,
// rollout, A/B test, group, override) and the rules that hold for each of them
// wherever it comes from: names, ranges, order, and the codes of what can go
// wrong. It is pure: no I/O, no clock, no goroutine.
package model
