// Package evaluation resolves which variant of each feature a subject gets. It is
// the only implementation: edges, the admin, explain and dry runs all call it.
//
// For one subject, one feature and one moment, the last of these steps that
// applies wins:
//
//  1. the default variant, if the feature has one;
//  2. the rollout's variant, if the subject's bucket is assigned to it;
//  3. the variant of the subject's test group, while a test of the feature is live;
//  4. the override of a group that the subject is in: of several the one of
//     higher priority, then the one whose name sorts first;
//  5. __DISABLE__, while the feature is off;
//  6. nothing, while it is archived.
//
// A feature that resolves to nothing is left out.
//
// It is pure: a Configuration is compiled when it arrives, and time is an
// argument.
package evaluation
