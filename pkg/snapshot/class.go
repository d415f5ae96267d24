package snapshot

import (
	"encoding/binary"
	"slices"

	"github.com/flaggery/flaggery/pkg/model"
)

// classes gives every combination of a bucket and groups a number. It only
// grows: snapshots share its lists, each up to the length it knew.
type classes struct {
	list      []model.Class // by ClassID
	ungrouped []ClassID     // the class without groups, by bucket
	ids       map[string]ClassID
	key       []byte
}

func newClasses() *classes {
	return &classes{list: make([]model.Class, 1), ids: map[string]ClassID{}}
}

// addBuckets numbers the classes without groups of bucket 0 (none) up to n. Unknown
// ids need them.
func (c *classes) addBuckets(n int) {
	for b := len(c.ungrouped); b <= n; b++ {
		c.list = append(c.list, model.Class{Bucket: model.BucketID(b)})
		c.ungrouped = append(c.ungrouped, ClassID(len(c.list)-1))
	}
}

// intern is the number of a class. The bucket is one that addBuckets knows.
func (c *classes) intern(bucket model.BucketID, groups []model.GroupID) ClassID {
	if len(groups) == 0 {
		return c.ungrouped[bucket]
	}
	key := c.keyOf(bucket, groups)
	id, ok := c.ids[string(key)]
	if !ok {
		c.list = append(c.list, model.Class{Bucket: bucket, Groups: slices.Clone(groups)})
		id = ClassID(len(c.list) - 1)
		c.ids[string(key)] = id
	}
	return id
}

// keyOf is a class as key of ids, valid until the next call.
func (c *classes) keyOf(bucket model.BucketID, groups []model.GroupID) []byte {
	c.key = binary.LittleEndian.AppendUint32(c.key[:0], uint32(bucket))
	for _, g := range groups {
		c.key = binary.LittleEndian.AppendUint32(c.key, uint32(g))
	}
	return c.key
}
