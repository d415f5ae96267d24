package bucketing

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/model"
)

func frozen[T any](t *testing.T, name string) []T {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []T
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return vectors
}

// The vectors of this and the next two tests were made by another implementation,
// in Python. With another hash, running rollouts would grow and shrink by other
// buckets, and unknown ids would change their bucket.
func TestHashIsFrozen(t *testing.T) {
	type vector struct {
		Salt    string
		Purpose purpose
		N       int32
		Hash    string
	}
	for _, v := range frozen[vector](t, "hash.json") {
		salt, err := hex.DecodeString(v.Salt)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%016x", hash(model.Salt(salt), v.Purpose, v.N)); got != v.Hash {
			t.Errorf("hash(%s, %d, %d) is %s, was %s", v.Salt, v.Purpose, v.N, got, v.Hash)
		}
	}
	if bucketOrder != 1 || joinOffset != 2 || groupOrder != 3 || likenessFactor != 4 || roundingOffset != 5 || firstDraw != 6 || lastDraw != 22 {
		t.Error("the purposes have other numbers than they had")
	}
}

func TestBucketOfIsFrozen(t *testing.T) {
	type vector struct {
		ID      string
		Buckets int
		Bucket  model.BucketID
	}
	for _, v := range frozen[vector](t, "bucket_of.json") {
		if got := BucketOf(v.ID, v.Buckets); got != v.Bucket {
			t.Errorf("BucketOf(%q, %d) is %d, was %d", v.ID, v.Buckets, got, v.Bucket)
		}
	}
}

// The salt of a test is kept, and so are the weights that its buckets had: with
// them, anybody can repeat the draw and verify that nobody chose the groups.
func TestSplitIsFrozen(t *testing.T) {
	type vector struct {
		Case        string
		Salt        string
		Weights     []int64
		Proportions []float64
		Groups      [][]model.BucketID
		Aside       []model.BucketID
		Chance      []float64
	}
	for _, v := range frozen[vector](t, "split.json") {
		salt, err := hex.DecodeString(v.Salt)
		if err != nil {
			t.Fatal(err)
		}
		var buckets []model.Bucket
		for i, w := range v.Weights {
			buckets = append(buckets, model.Bucket{ID: model.BucketID(i + 1), Weight: w})
		}
		want := Draw{v.Groups, v.Aside, v.Chance}
		if diff := cmp.Diff(want, Split(model.Salt(salt), buckets, v.Proportions)); diff != "" {
			t.Errorf("%s: another draw (-want +got):\n%s", v.Case, diff)
		}
	}
}

func TestTargetIsNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, total := rapid.Float64Range(0, 1).Draw(t, "proportion"), rapid.Int64Min(0).Draw(t, "total")
		exact := new(big.Rat).Mul(new(big.Rat).SetFloat64(p), new(big.Rat).SetInt64(total))
		off := exact.Sub(new(big.Rat).SetInt64(target(p, total)), exact)
		if off.Cmp(big.NewRat(1, 2)) > 0 || off.Cmp(big.NewRat(-1, 2)) <= 0 {
			t.Fatalf("%g of %d became %d", p, total, target(p, total))
		}
		if target(0, total) != 0 || target(1, total) != total {
			t.Fatalf("0 and 1 of %d became %d and %d", total, target(0, total), target(1, total))
		}
	})
}
