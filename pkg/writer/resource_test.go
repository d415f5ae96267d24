package writer

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/model"
)

// What is stored stays readable: these texts never change.
func TestResourcesAsStored(t *testing.T) {
	t.Parallel()
	stored := map[string]resource{
		"buckets":                                  bucketsResource.of(),
		"features/foobar":                          featureResource.of("foobar"),
		"features/f.o_o-1/variants/A":              variantResource.of("f.o_o-1", "A"),
		"features/foobar/variants/__DISABLE__":     variantResource.of("foobar", model.DisablingVariant),
		"features/variants/variants/rollout":       variantResource.of("variants", "rollout"),
		"features/foobar/default_variant":          defaultVariantResource.of("foobar"),
		"features/foobar/rollout":                  rolloutResource.of("foobar"),
		"abtests/checkout-2027":                    testResource.of("checkout-2027"),
		"groups/friends":                           groupResource.of("friends"),
		"groups/subjects/overrides/subjects":       overrideResource.of("subjects", "subjects"),
		"groups/friends/subjects/a%2Fb%20%25":      memberResource.of("friends", "a/b %"),
		"groups/friends/subjects":                  membersResource.of("friends"),
		"subjects/42":                              subjectResource.of("42"),
		"subjects/..%2F%7B%7D%3F%23&+%F0%9F%99%82": subjectResource.of("../{}?#&+🙂"),
		"subjects":                                 subjectsResource.of(),
		"tokens/17":                                tokenResource.of("17"),
	}
	kinds := map[resourceKind]bool{}
	for text, r := range stored {
		if got := r.String(); got != text {
			t.Errorf("%+v is stored as %q, want %q", r, got, text)
		}
		if got, err := parseResource(text); err != nil || got != r {
			t.Errorf("%q is read as %+v, error %v, want %+v", text, got, err, r)
		}
		kinds[r.kind] = true
	}
	if len(kinds) != len(resourceKinds) {
		t.Errorf("%d of %d kinds are here", len(kinds), len(resourceKinds))
	}
}

func TestResourcesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,9}`)
		id := rapid.String().Filter(func(id string) bool { return model.CheckSubjectID(id) == nil })
		var r resource
		switch kind := rapid.SampledFrom(resourceKinds).Draw(t, "kind"); kind {
		case bucketsResource, subjectsResource:
			r = kind.of()
		case subjectResource:
			r = kind.of(id.Draw(t, "id"))
		case memberResource:
			r = kind.of(name.Draw(t, "group"), id.Draw(t, "id"))
		case variantResource, overrideResource:
			r = kind.of(name.Draw(t, "first"), name.Draw(t, "second"))
		default:
			r = kind.of(name.Draw(t, "name"))
		}
		if got, err := parseResource(r.String()); err != nil || got != r {
			t.Fatalf("%+v is read as %+v from %q, error %v", r, got, r, err)
		}
	})
}

func TestResourcesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "/", "feature", "features", "features/", "features/a/b", "features/a/rollout/b", "features/a/variants", "features//rollout",
		"abtests", "groups/a/members", "groups/a/members/b", "subjects/a/b", "subjects/%", "subjects/%zz", "buckets/1", "tokens", "Features/a",
	} {
		if r, err := parseResource(text); err == nil {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
}
