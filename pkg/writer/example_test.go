package writer_test

import (
	"context"
	"fmt"
	"log"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/writer"
)

// The quickstart straight on a database, with no server. Edges follow it as
// they follow an admin.
func Example_quickstart() {
	ctx := context.Background()
	dbURL, drop, err := pgtest.Make(ctx)
	if err != nil {
		log.Panic(err)
	}
	defer func() { must(0, drop()) }()

	w := must(writer.Open(ctx, dbURL, writer.Options{}))
	defer w.Close()
	must(0, w.UpgradeDB(ctx))

	// Ten buckets, and a hundred subjects of weights 1 to 10.
	must(w.IncreaseBuckets(ctx, 10))
	weights := map[string]int64{}
	for i := range 100 {
		weights[strconv.Itoa(i+1)] = int64(i%10 + 1)
	}
	must(w.ImportSubjects(ctx, func(yield func(api.ImportLine, error) bool) {
		for id, weight := range weights {
			if !yield(api.ImportLine{ID: id, Weight: &weight}, nil) {
				return
			}
		}
	}))

	// A feature with two variants, switched off for everyone.
	must(w.AddFeature(ctx, api.CreateFeature{Name: "foobar"}))
	must(w.AddVariant(ctx, "foobar", api.CreateVariant{Name: "A"}))
	must(w.AddVariant(ctx, "foobar", api.CreateVariant{Name: "B"}))
	must(w.AddDisablingVariant(ctx, "foobar", api.CreateDisablingVariant{MakeDefault: true}))

	// A is rolled out to ten percent of the traffic.
	must(w.AddRollout(ctx, "foobar", "A"))
	must(w.SetRolloutProportion(ctx, "foobar", 0.1))

	// weightOf is the share of all weight whose subjects get a variant.
	weightOf := func(variant string) float64 {
		var got, total int64
		for id, weight := range weights {
			if must(w.SubjectVariants(ctx, id)).Value["foobar"] == variant {
				got += weight
			}
			total += weight
		}
		return float64(got) / float64(total)
	}
	fmt.Println("A has about 10 % of the traffic:", about(0.1, weightOf("A")))

	// Friends of the house get B, whatever else holds.
	must(w.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
	must(w.AddSubjectToGroup(ctx, "friends", "42"))
	must(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	fmt.Println("42 gets", must(w.SubjectVariants(ctx, "42")).Value)

	// An A/B test takes the place of the rollout while it is live; friends still
	// get B.
	test := api.CreateABTest{
		Name: "foobar-test", Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour),
		Groups: []api.CreateTestGroup{
			{Name: "control", Proportion: new(0.8), Variants: map[string]string{"foobar": api.DisablingVariant}},
			{Name: "experiment", Proportion: new(0.2), Variants: map[string]string{"foobar": "B"}},
		},
	}
	must(w.AddABTest(ctx, test))
	fmt.Println("A has any traffic:", weightOf("A") > 0)
	fmt.Println("B has about 20 % of it:", about(0.2, weightOf("B")))
	fmt.Println("42 gets", must(w.SubjectVariants(ctx, "42")).Value)

	// A second test of the same feature in the same period is refused, and the
	// error names the first one.
	test.Name = "another"
	_, err = w.AddABTest(ctx, test)
	fmt.Println(model.CodeOf(err), "names the first:", strings.Contains(err.Error(), "foobar-test"))

	// Output:
	// A has about 10 % of the traffic: true
	// 42 gets map[foobar:B]
	// A has any traffic: false
	// B has about 20 % of it: true
	// 42 gets map[foobar:B]
	// abtest_overlap names the first: true
}

// must keeps the example short. A program handles its errors.
func must[T any](value T, err error) T {
	if err != nil {
		log.Panic(err)
	}
	return value
}

func about(want, got float64) bool { return math.Abs(got-want) < 0.03 }
