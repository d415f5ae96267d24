package flaggery_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/e2e"
	"github.com/flaggery/flaggery/pkg/flaggery"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

func Example_quickstart() {
	ctx := context.Background()
	adminURL, edgeURL, stop := startServices(ctx)
	defer stop()

	admin := must(flaggery.NewAdmin(adminURL, e2e.Token))
	edge := must(flaggery.NewEdge(edgeURL))

	// Ten buckets, and a hundred subjects of weights 1 to 10.
	must(admin.IncreaseBuckets(ctx, 10))
	weights := map[string]int64{}
	for i := range 100 {
		weights[strconv.Itoa(i+1)] = int64(i%10 + 1)
	}
	must(admin.ImportSubjects(ctx, func(yield func(api.ImportLine, error) bool) {
		for id, weight := range weights {
			if !yield(api.ImportLine{ID: id, Weight: &weight}, nil) {
				return
			}
		}
	}))

	// A feature with two variants, switched off for everyone.
	must(admin.AddFeature(ctx, api.CreateFeature{Name: "foobar"}))
	must(admin.AddVariant(ctx, "foobar", api.CreateVariant{Name: "A"}))
	must(admin.AddVariant(ctx, "foobar", api.CreateVariant{Name: "B"}))
	must(admin.AddDisablingVariant(ctx, "foobar", api.CreateDisablingVariant{MakeDefault: true}))

	// A is rolled out to ten percent of the traffic; all edges have it when the
	// last call returns.
	must(admin.AddRollout(ctx, "foobar", "A"))
	must(admin.SetRolloutProportion(ctx, "foobar", 0.1, flaggery.Wait(10*time.Second)))

	// weightOf is the share of all weight whose subjects get a variant.
	weightOf := func(variant string) float64 {
		var got, total int64
		for id, weight := range weights {
			if must(edge.Flags(ctx, id)).Variant("foobar") == variant {
				got += weight
			}
			total += weight
		}
		return float64(got) / float64(total)
	}
	fmt.Println("A has about 10 % of the traffic:", about(0.1, weightOf("A")))

	// Friends of the house get B, whatever else holds.
	must(admin.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
	must(admin.AddSubjectToGroup(ctx, "friends", "42"))
	must(admin.AddGroupOverride(ctx, "friends", "foobar", "B", flaggery.Wait(10*time.Second)))
	fmt.Println("42 gets", must(edge.Flags(ctx, "42")).Variant("foobar"))

	// An A/B test takes the place of the rollout while it is live; friends still
	// get B.
	test := api.CreateABTest{
		Name: "foobar-test", Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour),
		Groups: []api.CreateTestGroup{
			{Name: "control", Proportion: new(0.8), Variants: map[string]string{"foobar": api.DisablingVariant}},
			{Name: "experiment", Proportion: new(0.2), Variants: map[string]string{"foobar": "B"}},
		},
	}
	must(admin.AddABTest(ctx, test, flaggery.Wait(10*time.Second)))
	fmt.Println("A has any traffic:", weightOf("A") > 0)
	fmt.Println("B has about 20 % of it:", about(0.2, weightOf("B")))
	fmt.Println("42 gets", must(edge.Flags(ctx, "42")).Variant("foobar"))

	// A second test of the same feature in the same period is refused, and the
	// error names the first one.
	test.Name = "another"
	_, err := admin.AddABTest(ctx, test)
	var problem *api.Problem
	if errors.As(err, &problem) {
		fmt.Println(problem.Code, "names the first:", strings.Contains(problem.Detail, "foobar-test"))
	}

	// Output:
	// A has about 10 % of the traffic: true
	// 42 gets B
	// A has any traffic: false
	// B has about 20 % of it: true
	// 42 gets B
	// abtest_overlap names the first: true
}

func ExampleAdmin_Features() {
	ctx := context.Background()
	adminURL, _, stop := startServices(ctx)
	defer stop()

	admin := must(flaggery.NewAdmin(adminURL, e2e.Token))
	for _, name := range []string{"search", "checkout"} {
		must(admin.AddFeature(ctx, api.CreateFeature{Name: name}))
	}
	for feature, err := range admin.Features(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(feature.Name)
	}
	// Output:
	// checkout
	// search
}

func ExampleIfMatch() {
	ctx := context.Background()
	adminURL, _, stop := startServices(ctx)
	defer stop()

	admin := must(flaggery.NewAdmin(adminURL, e2e.Token))
	must(admin.AddFeature(ctx, api.CreateFeature{Name: "checkout"}))

	// Two people read the same; the second one to write is told.
	read := must(admin.Feature(ctx, "checkout"))
	must(admin.PatchFeature(ctx, "checkout", api.PatchFeature{Description: new("The new one")}, flaggery.IfMatch(read.ETag)))
	_, err := admin.PatchFeature(ctx, "checkout", api.PatchFeature{Description: new("The old one")}, flaggery.IfMatch(read.ETag))
	fmt.Println(flaggery.CodeOf(err))
	// Output: precondition_failed
}

// must keeps the examples short. A program handles its errors.
func must[T any](value T, err error) T {
	if err != nil {
		log.Panic(err)
	}
	return value
}

func about(want, got float64) bool { return math.Abs(got-want) < 0.03 }

// startServices runs an admin and an edge on a database of their own.
func startServices(ctx context.Context) (adminURL, edgeURL string, stop func()) {
	dbURL, drop, err := pgtest.Make(ctx)
	if err != nil {
		log.Panic(err)
	}
	fixture := e2e.NewFixture(dbURL, slog.New(slog.DiscardHandler))
	return must(fixture.StartAdmin()), must(fixture.StartEdge("edge", "reject")), func() {
		if err := errors.Join(fixture.Close(), drop()); err != nil {
			log.Panic(err)
		}
	}
}
