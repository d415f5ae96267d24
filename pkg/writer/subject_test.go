package writer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestSubjectsLiveAndDie(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	_, err := w.AddSubject(ctx, api.CreateSubject{ID: "42"})
	wantError(t, err, model.NoBuckets)
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 3))

	// Each goes to the lightest bucket, of equal ones to the first.
	for i, c := range []struct {
		weight *int64
		bucket model.BucketID
	}{{ptr[int64](5), 1}, {ptr[int64](0), 2}, {nil, 2}, {ptr[int64](2), 3}, {ptr[int64](1), 2}, {ptr[int64](1), 2}} {
		s := must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: fmt.Sprint(i), Weight: c.weight})).Value
		if s.BucketID != c.bucket {
			t.Errorf("subject %d went to bucket %d, want %d", i, s.BucketID, c.bucket)
		}
	}
	_, err = w.AddSubject(ctx, api.CreateSubject{ID: "3"})
	wantError(t, err, model.SubjectExists, `"3"`)

	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "a"}))
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "b"}))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "b", "3"))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "a", "3"))
	s := must[api.Subject](t)(w.SetSubjectWeight(ctx, "3", 7)).Value
	if s.Weight != 7 || s.BucketID != 3 || !slices.Equal(s.Groups, []string{"a", "b"}) {
		t.Errorf("heavier: %+v", s)
	}
	if read := must[api.Subject](t)(w.Subject(ctx, "3")).Value; fmt.Sprint(read) != fmt.Sprint(s) {
		t.Errorf("read %+v, want %+v", read, s)
	}

	born := w.one(`SELECT born FROM subject WHERE id = '3'`)
	gone := must[api.Subject](t)(w.DeleteSubject(ctx, "3")).Value
	if fmt.Sprint(gone) != fmt.Sprint(s) {
		t.Errorf("deleted %+v, want it as it was: %+v", gone, s)
	}
	if stone := w.one(`SELECT born || ' ' || (label > born) FROM tombstone WHERE subject_id = '3'`); stone != born+" true" {
		t.Errorf("tombstone %q, the subject was born %s", stone, born)
	}
	if g := must[api.Group](t)(w.Group(ctx, "a")).Value; g.Members != 0 {
		t.Errorf("group a has %d members", g.Members)
	}
	_, err = w.Subject(ctx, "3")
	wantError(t, err, model.SubjectNotFound, `"3"`)
	must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: "3"}))
	if again := w.one(`SELECT born FROM subject WHERE id = '3'`); again == born {
		t.Error("a subject that came again has the birth of the first")
	}
}

func TestSubjectIDs(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1))
	long := strings.Repeat("é", 128)
	ids := []string{" ", "'; DROP TABLE subject; --", "%", "/", `\`, `\N`, `\.`, "a/b%2F", "A", "a", "é", "\u2028", "\uFFFD", "🙂", "\U0010FFFF", "\U0010FFFFx", long}
	slices.Sort(ids)
	for _, id := range ids {
		must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: id}))
		must[api.Subject](t)(w.Subject(ctx, id))
	}
	page, got := Page{Limit: 3}, []string(nil)
	for {
		p := must[api.Page[api.Subject]](t)(w.Subjects(ctx, api.SubjectQuery{}, page)).Value
		for _, s := range p.Items {
			got = append(got, s.ID)
		}
		if page.After = p.Next; p.Next == "" {
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("listed %q, want bytewise order %q", got, ids)
	}
	for _, prefix := range append(ids, "aa", long[:254]) {
		var want []string
		for _, id := range ids {
			if strings.HasPrefix(id, prefix) {
				want = append(want, id)
			}
		}
		got = nil
		for _, s := range must[api.Page[api.Subject]](t)(w.Subjects(ctx, api.SubjectQuery{Prefix: prefix}, Page{})).Value.Items {
			got = append(got, s.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("prefix %q: listed %q, want %q", prefix, got, want)
		}
	}
	for _, id := range []string{"", "a\x00b", "a\nb", "\u0085", "\xff", long + "x"} {
		_, err := w.AddSubject(ctx, api.CreateSubject{ID: id})
		wantError(t, err, model.ValidationFailed, "body.id")
		_, err = w.Subject(ctx, id)
		wantError(t, err, model.ValidationFailed, "path.id")
	}
}

// Pages together are what one finds who sorts all subjects, in every order and of every
// selection.
func TestSubjectsAreSorted(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 150)) // more than are looked into at once
	var lines []api.ImportLine
	for i := range 400 {
		lines = append(lines, api.ImportLine{ID: fmt.Sprintf("%c-%d", 'a'+i%3, i), Weight: ptr(int64(i * i % 11))})
	}
	must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(lines...)))
	all := must[api.Page[api.Subject]](t)(w.Subjects(ctx, api.SubjectQuery{}, Page{Limit: maxLimit})).Value.Items
	rapid.Check(t, func(t *rapid.T) {
		q := api.SubjectQuery{
			Prefix: rapid.SampledFrom([]string{"", "a", "a-1", "b-", "d"}).Draw(t, "prefix"),
			Bucket: rapid.SampledFrom([]model.BucketID{0, 0, 1, 150, 151}).Draw(t, "bucket"),
			Sort:   rapid.SampledFrom([]string{"", api.HeaviestFirst}).Draw(t, "sort"),
		}
		page := Page{Limit: rapid.SampledFrom([]int{30, 128, 129, 300, 400, maxLimit}).Draw(t, "limit")}
		want := slices.DeleteFunc(slices.Clone(all), func(s api.Subject) bool {
			return !strings.HasPrefix(s.ID, q.Prefix) || q.Bucket != 0 && s.BucketID != q.Bucket
		})
		if q.Sort != "" {
			slices.SortStableFunc(want, func(a, b api.Subject) int { return cmp.Compare(b.Weight, a.Weight) })
		}
		var got []api.Subject
		for {
			r, err := w.Subjects(ctx, q, page)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.Value.Items...)
			if r.Value.Next == "" {
				break
			}
			page.After = r.Value.Next
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	})
}

func TestSubjectQueriesAreChecked(t *testing.T) {
	w := newFixture(t)
	for location, q := range map[string]api.SubjectQuery{
		"query.prefix": {Prefix: "a\nb"},
		"query.bucket": {Bucket: -1},
		"query.sort":   {Sort: "weight"},
	} {
		_, err := w.Subjects(t.Context(), q, Page{})
		wantError(t, err, model.ValidationFailed, location)
	}
	for _, after := range []string{"a", "5", "5-", "-5-a", "x-a", "9007199254740992-a", "5-a\nb"} {
		_, err := w.Subjects(t.Context(), api.SubjectQuery{Sort: api.HeaviestFirst}, Page{After: after})
		wantError(t, err, model.ValidationFailed, "query.after")
	}
}

// Clients take these for steps in a path. Subjects of earlier releases may have them.
func TestDotsAreNoNewIDs(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1))
	for _, id := range []string{".", ".."} {
		_, err := w.AddSubject(ctx, api.CreateSubject{ID: id})
		wantError(t, err, model.ValidationFailed, "body.id")
		must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: id})))
		must[api.Subject](t)(w.Subject(ctx, id))
	}
	must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: "..."}))
}

func TestTotalWeightIsBounded(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 2))
	for _, weight := range []int64{-1, model.MaxWeight + 1, math.MinInt64, math.MaxInt64} {
		_, err := w.AddSubject(ctx, api.CreateSubject{ID: "x", Weight: &weight})
		wantError(t, err, model.ValidationFailed, "body.weight")
		_, err = w.SetSubjectWeight(ctx, "x", weight)
		wantError(t, err, model.ValidationFailed, "body.weight")
	}
	// 1,024 times the largest weight is 1,024 below the bound.
	heavy := func(yield func(api.ImportLine, error) bool) {
		for i := range 1024 {
			if !yield(api.ImportLine{ID: fmt.Sprint(i), Weight: ptr[int64](model.MaxWeight)}, nil) {
				return
			}
		}
	}
	must[api.Imported](t)(w.ImportSubjects(ctx, heavy))
	must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: "rest", Weight: ptr[int64](1023)}))
	_, err := w.AddSubject(ctx, api.CreateSubject{ID: "more", Weight: ptr[int64](0)})
	if err != nil {
		t.Errorf("the bound itself is refused: %v", err)
	}
	_, err = w.AddSubject(ctx, api.CreateSubject{ID: "last"})
	wantError(t, err, model.ValidationFailed, "9223372036854775808", "9223372036854775807")
	_, err = w.SetSubjectWeight(ctx, "more", 1)
	wantError(t, err, model.ValidationFailed, "9223372036854775808")
	_, err = w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "last"}))
	wantError(t, err, model.ValidationFailed, "9223372036854775808")
	_, err = w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "more", Weight: ptr[int64](1)}))
	wantError(t, err, model.ValidationFailed, "9223372036854775808")

	// Also if one bucket alone would pass it.
	if _, err := w.sql.Exec(`
		ALTER TABLE subject DISABLE TRIGGER refuse_move;
		UPDATE subject SET bucket_id = 1;
		ALTER TABLE subject ENABLE TRIGGER refuse_move`); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sql.Exec(`UPDATE bucket b SET weight = (SELECT coalesce(sum(weight), 0) FROM subject WHERE bucket_id = b.id),
		subjects = (SELECT count(*) FROM subject WHERE bucket_id = b.id)`); err != nil {
		t.Fatal(err)
	}
	_, err = w.SetSubjectWeight(ctx, "more", 1)
	wantError(t, err, model.ValidationFailed, "9223372036854775807")
	_, err = w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "more", Weight: ptr[int64](1)}))
	wantError(t, err, model.ValidationFailed, "9223372036854775807")
	// What makes room elsewhere in the same file is taken into account.
	must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(
		api.ImportLine{ID: "new", Weight: ptr[int64](model.MaxWeight)}, api.ImportLine{ID: "7", Weight: ptr[int64](0)})))
}
