package rollback

import (
	"fmt"
	"slices"

	"breakwater/internal/table/delta"
)

// The writer features under which a commit of adds and removes of files that
// other versions already held, as this package makes it, is correct. Features
// that forbid what a restore does (icebergCompatV1 and later ask that every add
// be rewritten in their terms) or that are not known are refused by name.
var knownWriter = map[string]bool{
	"appendOnly": true, "invariants": true, "checkConstraints": true, "generatedColumns": true, "allowColumnDefaults": true,
	"changeDataFeed": true, "columnMapping": true, "identityColumns": true, "deletionVectors": true, "rowTracking": true,
	"timestampNtz": true, "domainMetadata": true, "v2Checkpoint": true, "clustering": true, "vacuumProtocolCheck": true,
	"inCommitTimestamp": true, "typeWidening": true, "typeWidening-preview": true, "checkpointProtection": true,
	"variantType": true, "variantType-preview": true, "variantShredding": true, "variantShredding-preview": true,
}

// writable refuses a version whose protocol asks of writers what is not known.
func writable(s *delta.Snapshot) error {
	if c := s.Coordinator(); c != "" {
		return fmt.Errorf("%w (%s): restore it through that catalog or commit coordinator, or take the table out of its hands first (ALTER TABLE ... DROP FEATURE)", ErrCatalogManaged, c)
	}
	var unknown []string
	if s.Protocol.MinWriterVersion > 7 {
		unknown = append(unknown, fmt.Sprintf("minWriterVersion %d", s.Protocol.MinWriterVersion))
	}
	for _, f := range s.Protocol.WriterFeatures {
		if !knownWriter[f] {
			unknown = append(unknown, f)
		}
	}
	if unknown == nil {
		return nil
	}
	return &FeatureError{s.Root.String(), s.Version.Number, unknown}
}

// upward is the least protocol that has everything that either has.
func upward(a, b delta.Protocol) delta.Protocol {
	p := delta.Protocol{
		MinReaderVersion: max(a.MinReaderVersion, b.MinReaderVersion),
		MinWriterVersion: max(a.MinWriterVersion, b.MinWriterVersion),
	}
	if p.MinWriterVersion >= 7 {
		p.WriterFeatures = union(a.Features(), b.Features())
	}
	if p.MinReaderVersion >= 3 {
		p.ReaderFeatures = union(ofReaders(a), ofReaders(b))
	}
	return p
}

func union(x, y []string) []string {
	all := append(slices.Clone(x), y...)
	slices.Sort(all)
	if all = slices.Compact(all); all == nil {
		return []string{} // a list that is empty, which is not a list that is absent
	}
	return all
}

// ofReaders are the features that a protocol asks of readers.
func ofReaders(p delta.Protocol) []string {
	if p.MinReaderVersion == 2 {
		return []string{"columnMapping"}
	}
	return p.ReaderFeatures
}

// covers reports whether p has everything that o has.
func covers(p, o delta.Protocol) bool {
	u := upward(p, o)
	same := func(a, b []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	return u.MinReaderVersion == p.MinReaderVersion && u.MinWriterVersion == p.MinWriterVersion &&
		(p.MinWriterVersion < 7 || same(u.WriterFeatures, p.WriterFeatures)) && (p.MinReaderVersion < 3 || same(u.ReaderFeatures, p.ReaderFeatures))
}
