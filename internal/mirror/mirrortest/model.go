package mirrortest

import (
	"cmp"
	"slices"

	"pgregory.net/rapid"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
)

// Model is a partition and its copy: which offsets hold data, in both.
type Model struct {
	Up, Down []int64 // offsets of the same records, rising
	End      int64   // of the target's log
	Syncs    mirror.Syncs
}

// DrawModel makes a mirror with gaps on both sides, as markers, aborted and
// compacted records leave them, and syncs for any of its records.
func DrawModel(t *rapid.T) Model {
	var m Model
	up, down := rapid.Int64Range(0, 5).Draw(t, "source start"), rapid.Int64Range(0, 5).Draw(t, "target start")
	var raw []mirror.Sync
	for range rapid.IntRange(1, 60).Draw(t, "records") {
		up += rapid.Int64Range(0, 3).Draw(t, "source gap")
		down += rapid.Int64Range(0, 3).Draw(t, "target gap")
		m.Up, m.Down = append(m.Up, up), append(m.Down, down)
		if rapid.IntRange(0, 3).Draw(t, "sync") == 0 {
			raw = append(raw, mirror.Sync{Partition: kafka.Partition{Topic: "orders"}, Upstream: up, Downstream: down})
		}
		up++
		down++
	}
	m.End = down + rapid.Int64Range(0, 2).Draw(t, "markers at the end")
	m.Syncs = mirror.NewSyncs(raw...)
	return m
}

// Truth is the target offset of the first record at or after a source offset:
// whoever starts later misses it.
func (m Model) Truth(upstream int64) int64 {
	i, _ := slices.BinarySearchFunc(m.Up, upstream, cmp.Compare[int64])
	if i == len(m.Up) {
		return m.End
	}
	return m.Down[i]
}
