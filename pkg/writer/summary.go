package writer

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// FeatureFilter selects the features that FeatureSummaries lists, and their order. The
// zero value selects all that are not archived, by name.
type FeatureFilter struct {
	Archived bool   // the archived features instead of the others
	Query    string // part of the name, the description or a tag, case insensitive
	Tag      string
	State    model.FeatureState // StateArchived implies Archived
	Stage    model.FeatureStage // StageArchived implies Archived
	ByChange bool               // last changed first
}

// FeatureSummaries lists features with the shares of their variants, without payloads and
// buckets.
func (w *Writer) FeatureSummaries(ctx context.Context, filter FeatureFilter, page Page) (Result[api.Page[api.FeatureSummary]], error) {
	f := postgres.FeatureFilter{
		Archived: filter.Archived || filter.State == model.StateArchived || filter.Stage == model.StageArchived,
		Query:    clean(filter.Query), Tag: clean(filter.Tag), State: filter.State, Stage: filter.Stage, ByChange: filter.ByChange,
		After: postgres.FeaturePlace{Name: page.After},
	}
	if f.ByChange && page.After != "" {
		n, err := fmt.Sscanf(page.After, "%d-%s", &f.After.Revision, &f.After.Name)
		if n != 2 || err != nil || page.After != changeOf(f.After) || f.After.Revision < 1 {
			return Result[api.Page[api.FeatureSummary]]{}, model.Faults{{
				Location: "query.after", Message: "must be the 'next' of the page before",
			}}.Err()
		}
	}
	return list(ctx, w, page, func(s api.FeatureSummary) string {
		if f.ByChange {
			return changeOf(postgres.FeaturePlace{Revision: s.Changed.Revision, Name: s.Name})
		}
		return s.Name
	}, func(tx *postgres.Tx, limit int) iter.Seq2[api.FeatureSummary, error] {
		return sequence(func(yield func(api.FeatureSummary, error) bool) error {
			return w.eachSummary(ctx, tx, f, limit, yield)
		})
	}, each(func(s api.FeatureSummary) api.FeatureSummary { return s }))
}

// changeOf is the value of Page.After in a list by the last change.
func changeOf(p postgres.FeaturePlace) string { return fmt.Sprintf("%d-%s", p.Revision, p.Name) }

// atOnce limits the number of bucket ids of rollouts in memory at once.
const atOnce = 1 << 19

func (w *Writer) eachSummary(ctx context.Context, tx *postgres.Tx, f postgres.FeatureFilter, limit int, yield func(api.FeatureSummary, error) bool) error {
	listed, err := tx.ListedFeatures(ctx, f, limit)
	if err != nil {
		return err
	}
	buckets, err := tx.Buckets(ctx)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(listed, 1+atOnce/(1+len(buckets))) {
		names := make([]string, len(some))
		for i, l := range some {
			names[i] = l.Name
		}
		s, err := w.survey(ctx, tx, buckets, tx.Revision, names...)
		if err != nil {
			return err
		}
		for _, l := range some {
			if !yield(s.summary(tx, l), nil) {
				return nil
			}
		}
	}
	return nil
}

// summary returns the summary of one of the survey's features.
func (s *survey) summary(tx *postgres.Tx, l postgres.ListedFeature) api.FeatureSummary {
	i, _ := slices.BinarySearchFunc(s.config.Features, l.Name, func(f model.Feature, name string) int { return cmp.Compare(f.Name, name) })
	f := &s.config.Features[i]
	summary := api.FeatureSummary{
		Name: f.Name, Description: f.Description, Tags: f.Tags, State: l.State, Variants: make([]string, len(f.Variants)),
		DefaultVariant: orNil(f.Default), Stage: l.Stage, Contact: l.Contact, Expires: orNil(l.Expires), Permanent: l.Permanent, Owner: orNil(l.Owner),
		Shares:  []api.VariantShare{},
		Changed: api.LastChange{At: l.At.UTC(), Actor: l.Actor, Revision: l.Revision},
	}
	for i, v := range f.Variants {
		summary.Variants[i] = v.Name
	}
	if l.SettledOn != nil {
		summary.SettledOn = new(l.SettledOn.UTC())
	}
	if r := f.Rollout; r != nil {
		_, _, effective := bucketing.Effective(s.buckets, r.Buckets)
		summary.Rollout = &api.RolloutSummary{Variant: r.Variant, Proportion: r.Proportion, EffectiveProportion: effective}
	}
	for i := range s.config.Tests {
		t := &s.config.Tests[i]
		if !slices.Contains(t.Features(), f.Name) {
			continue
		}
		form := &api.TestSummary{Name: t.Name, Start: t.Start, End: t.End}
		switch state := t.State(tx.Now); {
		case state == model.Live:
			summary.Test = form
		case state == model.Scheduled && (summary.NextTest == nil || t.Start.Before(summary.NextTest.Start)):
			summary.NextTest = form
		}
	}
	for _, g := range s.config.Groups {
		if g.Overrides[f.Name] != "" {
			summary.Overrides++
		}
	}
	for _, d := range s.decided(f.Name, tx.Now) {
		if d.subjects == 0 {
			continue
		}
		share := api.VariantShare{Variant: orNil(d.Variant), Step: stepOf(d.Decision), Weight: d.weight, Subjects: d.subjects}
		same := func(other api.VariantShare) bool {
			return other.Step == share.Step && *cmp.Or(other.Variant, new(string)) == d.Variant
		}
		if i := slices.IndexFunc(summary.Shares, same); i >= 0 {
			summary.Shares[i].Weight += d.weight
			summary.Shares[i].Subjects += d.subjects
		} else {
			summary.Shares = append(summary.Shares, share)
		}
	}
	return summary
}
