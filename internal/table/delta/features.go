package delta

import (
	"maps"
	"slices"
)

// What the protocol versions before table features stand for.
var (
	legacyWriter = [][]string{
		2: {"appendOnly", "invariants"}, 3: {"checkConstraints"}, 4: {"changeDataFeed", "generatedColumns"},
		5: {"columnMapping"}, 6: {"identityColumns"},
	}
	legacyReader = [][]string{2: {"columnMapping"}}
)

// Features are the table features that a protocol stands for, in order: those
// that it lists, and those that its versions imply where they are older than
// table features.
func (p Protocol) Features() []string {
	all := map[string]bool{}
	for _, f := range slices.Concat(p.ReaderFeatures, p.WriterFeatures) {
		all[f] = true
	}
	imply := func(version, listed int, legacy [][]string) {
		for v, features := range legacy {
			for _, f := range features {
				if version < listed && v <= version {
					all[f] = true
				}
			}
		}
	}
	imply(p.MinWriterVersion, 7, legacyWriter)
	if p.MinWriterVersion < 7 {
		imply(p.MinReaderVersion, 3, legacyReader)
	}
	return slices.Sorted(maps.Keys(all))
}
