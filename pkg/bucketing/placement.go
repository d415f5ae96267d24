package bucketing

import (
	"slices"

	"github.com/flaggery/flaggery/pkg/model"
)

// Placer finds buckets for new subjects. As each goes to the lightest bucket,
// buckets that start equal never differ by more than the heaviest subject.
type Placer struct {
	heap []model.Bucket // a binary heap, the lightest bucket first
}

// NewPlacer starts from the buckets as they are.
func NewPlacer(buckets []model.Bucket) *Placer {
	p := &Placer{slices.Clone(buckets)}
	for i := len(p.heap)/2 - 1; i >= 0; i-- {
		p.sink(i)
	}
	return p
}

// Place takes a subject into the lightest bucket, of equal ones that with the
// lowest id, and returns the bucket; 0 if there is none. Callers that place many
// take the heaviest first, which keeps the differences smallest.
func (p *Placer) Place(weight int64) model.BucketID {
	if len(p.heap) == 0 {
		return 0
	}
	b := &p.heap[0]
	id := b.ID
	b.Weight += weight
	b.Subjects++
	p.sink(0)
	return id
}

func (p *Placer) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(p.heap); child++ {
			if lighter(p.heap[child], p.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		p.heap[i], p.heap[least] = p.heap[least], p.heap[i]
		i = least
	}
}

func lighter(a, b model.Bucket) bool {
	return a.Weight < b.Weight || a.Weight == b.Weight && a.ID < b.ID
}
