package bucketing

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/flaggery/flaggery/pkg/model"
)

// NewSalt draws the salt of a new rollout or test.
func NewSalt() model.Salt {
	var salt model.Salt
	rand.Read(salt[:]) // never fails: since Go 1.24 the program ends instead
	return salt
}

// purpose separates the uses of one salt, so that their results are independent.
type purpose byte

const (
	bucketOrder purpose = iota + 1
	joinOffset
	groupOrder
	likenessFactor
	roundingOffset
	firstDraw
	lastDraw = firstDraw + 16 // each draw has a purpose of its own
)

// hash is the keyed hash behind every order and draw. Its input is unambiguous
// as all three parts are of fixed size. Its results are frozen in testdata.
func hash(salt model.Salt, p purpose, n int32) uint64 {
	input := make([]byte, 0, len(salt)+1+4)
	input = append(input, salt[:]...)
	input = append(input, byte(p))
	input = binary.BigEndian.AppendUint32(input, uint32(n))
	sum := sha256.Sum256(input)
	return binary.BigEndian.Uint64(sum[:])
}

// salted returns items in the order that salt gives to their ids.
func salted[T any](salt model.Salt, p purpose, items []T, id func(T) int32) []T {
	type keyed struct {
		key  uint64
		item T
	}
	order := make([]keyed, len(items))
	for i, item := range items {
		order[i] = keyed{hash(salt, p, id(item)), item}
	}
	slices.SortFunc(order, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(id(a.item), id(b.item)))
	})
	result := make([]T, len(items))
	for i, k := range order {
		result[i] = k.item
	}
	return result
}

func inOrder(salt model.Salt, buckets []model.Bucket) []model.Bucket {
	return salted(salt, bucketOrder, buckets, func(b model.Bucket) int32 { return int32(b.ID) })
}
