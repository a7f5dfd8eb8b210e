package system

import (
	"slices"
	"testing"

	"breakwater/internal/estate"
	"breakwater/internal/permit"
)

// TestMirrorNotes: the topics that a mirror keeps are named as the mirror names them.
func TestMirrorNotes(t *testing.T) {
	e := &estate.Estate{Regions: []estate.Region{
		{Region: "east", Kafka: &estate.Kafka{Alias: "e"}},
		{Region: "west", Kafka: &estate.Kafka{Alias: "w"}, Connect: &estate.Connect{OffsetsTopic: "offsets", Separator: "_"}},
	}}
	s := &Systems{}
	if got, want := s.MirrorNotes(e, "east", "west"), []string{"offsets", "e_checkpoints_internal", "mm2-offset-syncs_e_internal", "e_heartbeats"}; !slices.Equal(got, want) {
		t.Errorf("MirrorNotes = %q, want %q", got, want)
	}
	for _, between := range [][2]string{{"west", "east"}, {"west", "west"}, {"east", "north"}} {
		if got := s.MirrorNotes(e, between[0], between[1]); len(got) > 0 {
			t.Errorf("MirrorNotes of %v = %q, and nothing mirrors there", between, got)
		}
	}
}

// TestEveryProviderSpeaks: what administers an object store has words for what it can do,
// and for nothing else.
func TestEveryProviderSpeaks(t *testing.T) {
	for provider := range providers {
		words, known := Speaks(provider, permit.Fences)
		if !known || len(words.May) == 0 {
			t.Errorf("nobody knows what a fence takes at %s", provider)
		}
		words, _ = Speaks(provider, permit.Grants)
		if can := slices.Contains(GivesAccess(), provider); can != (len(words.May) > 0) {
			t.Errorf("access can be given at %s: %t, and takes %q", provider, can, words.May)
		}
	}
	if _, known := Speaks("ceph", permit.Fences); known {
		t.Error("a provider that is none speaks")
	}
}
