// Package bucketing decides which bucket a subject goes to, and which buckets a
// rollout or a test is handed. It is pure, and deterministic but for NewSalt.
//
// Weights are integers and a proportion of them is turned into an integer target
// once, exactly, so the bounds named at each function hold up to a total of
// 2^63 − 1. Callers keep the total within it. Buckets without weight count as one
// each, so that a proportion also applies to buckets without subjects.
//
// Callers store the results and never recompute them: a change here does not move
// subjects that are already assigned.
package bucketing
