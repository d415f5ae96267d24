package model

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNames(t *testing.T) {
	pattern := regexp.MustCompile(NamePattern)
	for name, good := range map[string]bool{
		"a": true, "0": true, "A.b_c-d": true, strings.Repeat("x", 128): true,
		"": false, ".a": false, "-a": false, "_a": false, "a b": false, "a/b": false, "é": false,
		"a\n": false, "a\x00": false, DisablingVariant: false, strings.Repeat("x", 129): false,
	} {
		if err := CheckName(name); (err == nil) != good {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
		if pattern.MatchString(name) != good {
			t.Errorf("NamePattern and CheckName differ on %q", name)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.RuneFrom([]rune("aZ09._-é/ \n"))).Draw(t, "name")
		if err := CheckName(name); (err == nil) != pattern.MatchString(name) {
			t.Fatalf("NamePattern and CheckName(%q) = %v differ", name, err)
		}
	})
}

func TestDisablingVariantIsReserved(t *testing.T) {
	if err := CheckVariantName(DisablingVariant); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("CheckVariantName = %v, want a word on its being reserved", err)
	}
	if err := CheckVariantReference(DisablingVariant); err != nil {
		t.Errorf("CheckVariantReference = %v", err)
	}
	if err := CheckVariantReference("a b"); err == nil {
		t.Error("CheckVariantReference accepts what is no name")
	}
}

func TestSubjectIDs(t *testing.T) {
	for id, good := range map[string]bool{
		"42": true, "a@example.com": true, `q"uo'te`: true, "a/b%2F": true, " ": true, "🦊": true, "..": true,
		strings.Repeat("x", 256): true, strings.Repeat("é", 128): true,
		"": false, strings.Repeat("x", 257): false, strings.Repeat("é", 129): false,
		"a\x00": false, "a\n": false, "\u0085": false, "\x7f": false, "\xff": false, "a\xc3": false,
	} {
		if err := CheckSubjectID(id); (err == nil) != good {
			t.Errorf("CheckSubjectID(%q) = %v", id, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	for weight, good := range map[int64]bool{0: true, 1: true, 1<<53 - 1: true, -1: false, 1 << 53: false, math.MaxInt64: false} {
		if err := CheckWeight(weight); (err == nil) != good {
			t.Errorf("CheckWeight(%d) = %v", weight, err)
		}
	}
	for p, good := range map[float64]bool{0: true, 1: true, 0.5: true, -0.1: false, 1.1: false, math.Inf(1): false} {
		if err := CheckProportion(p); (err == nil) != good {
			t.Errorf("CheckProportion(%g) = %v", p, err)
		}
	}
	if CheckProportion(math.NaN()) == nil {
		t.Error("CheckProportion accepts NaN")
	}
}

func TestPayloads(t *testing.T) {
	for payload, good := range map[string]bool{
		"": true, "null": true, `{"a":[1,2.5,"x"]}`: true, `"` + strings.Repeat("x", MaxPayloadSize-2) + `"`: true,
		"{": false, "1 2": false, `"` + strings.Repeat("x", MaxPayloadSize-1) + `"`: false,
	} {
		if err := CheckPayload([]byte(payload)); (err == nil) != good {
			t.Errorf("CheckPayload(%.20q of %d bytes) = %v", payload, len(payload), err)
		}
	}
}

var (
	monday  = time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC)
	tuesday = monday.AddDate(0, 0, 1)
)

// goodTest is a test without a fault.
func goodTest() ABTest {
	return ABTest{Name: "t", Start: monday, End: tuesday, Groups: []TestGroup{
		{Name: "control", Proportion: 0.8, Variants: map[string]string{"f": DisablingVariant}},
		{Name: "experiment", Proportion: 0.2, Variants: map[string]string{"f": "B"}},
	}}
}

func TestValidateABTest(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*ABTest)
		location string // of the only fault; "" for none
		message  string
	}{
		{"valid", func(*ABTest) {}, "", ""},
		{"thirds", func(x *ABTest) {
			x.Groups = append(x.Groups, TestGroup{Name: "third", Variants: map[string]string{"f": "A"}})
			for i := range x.Groups {
				x.Groups[i].Proportion = []float64{0.333333333, 0.333333333, 0.333333334}[i]
			}
		}, "", ""},
		{"name", func(x *ABTest) { x.Name = "a b" }, "body.name", "letter"},
		{"ends at its start", func(x *ABTest) { x.End = x.Start }, "body.end", "after start"},
		{"one group", func(x *ABTest) { x.Groups = x.Groups[:1] }, "body.groups", "between 2"},
		{"equal names", func(x *ABTest) { x.Groups[1].Name = "control" }, "body.groups[1].name", "another group"},
		{"sum", func(x *ABTest) { x.Groups[1].Proportion = 0.3 }, "body.groups", "sum to 1"},
		{"no features", func(x *ABTest) { x.Groups[1].Variants = nil }, "body.groups[1].variants", "at least one"},
		{"more features", func(x *ABTest) { x.Groups[1].Variants["g"] = "A" }, "body.groups[1].variants", `"g" is not in the first`},
		{"no such name", func(x *ABTest) { x.Groups[1].Variants["f"] = "a b" }, "body.groups[1].variants.f", "letter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			test := goodTest()
			c.change(&test)
			var faults Faults
			test.Validate(&faults)
			if c.location == "" {
				if len(faults) > 0 {
					t.Fatalf("faults %v", faults)
				}
				return
			}
			if len(faults) != 1 || faults[0].Location != c.location || !strings.Contains(faults[0].Message, c.message) {
				t.Errorf("faults %v, want one of %s that says %q", faults, c.location, c.message)
			}
		})
	}
}

func TestProportionsLeftOutAreEqual(t *testing.T) {
	test := goodTest()
	test.Groups[0].Proportion, test.Groups[1].Proportion = math.NaN(), math.NaN()
	var faults Faults
	if test.Validate(&faults); len(faults) > 0 || test.Groups[0].Proportion != 0.5 || test.Groups[1].Proportion != 0.5 {
		t.Errorf("groups %v, faults %v", test.Groups, faults)
	}
	test.Groups[1].Proportion = math.NaN()
	if test.Validate(&faults); len(faults) == 0 {
		t.Error("a proportion left out in one group only is accepted")
	}
}

func TestStateAndOverlap(t *testing.T) {
	a, b := goodTest(), goodTest()
	for _, c := range []struct {
		at   time.Time
		want TestState
	}{{monday.Add(-1), Scheduled}, {monday, Live}, {tuesday.Add(-1), Live}, {tuesday, Ended}} {
		if got := a.State(c.at); got != c.want {
			t.Errorf("at %s the test is %s, want %s", c.at, got, c.want)
		}
	}
	b.Start, b.End = tuesday, tuesday.AddDate(0, 0, 1)
	if got := Overlap(&a, &b); len(got) > 0 {
		t.Errorf("a test that starts when the other ends overlaps it in %v", got)
	}
	b.Start = tuesday.Add(-1)
	if got := Overlap(&a, &b); !slices.Equal(got, []string{"f"}) {
		t.Errorf("overlap %v, want f", got)
	}
	b.End = b.Start
	if got := Overlap(&a, &b); len(got) > 0 {
		t.Errorf("a test that was stopped as it began overlaps another in %v", got)
	}
	b.End = tuesday
	for i := range b.Groups {
		b.Groups[i].Variants = map[string]string{"g": "A"}
	}
	if got := Overlap(&a, &b); len(got) > 0 {
		t.Errorf("tests of other features overlap in %v", got)
	}
}

func TestCompareGroups(t *testing.T) {
	groups := []Group{{Name: "b", Priority: 1}, {Name: "a", Priority: 1}, {Name: "c", Priority: 2}}
	slices.SortFunc(groups, CompareGroups)
	if got := groups[0].Name + groups[1].Name + groups[2].Name; got != "cab" {
		t.Errorf("order %s, want cab", got)
	}
}

func TestErrors(t *testing.T) {
	var faults Faults
	if faults.Err() != nil {
		t.Error("no faults are an error")
	}
	faults.Check("body.weight", CheckWeight(-1))
	faults.Check("body.id", nil)
	err := fmt.Errorf("write: %w", faults.Err())
	if CodeOf(err) != ValidationFailed || !strings.Contains(err.Error(), "body.weight must be between") {
		t.Errorf("code %q of %v", CodeOf(err), err)
	}
	if got := CodeOf(errors.New("disk on fire")); got != "" {
		t.Errorf("an internal error has code %q", got)
	}
}
