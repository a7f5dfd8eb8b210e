package backup

import (
	"bytes"
	"cmp"
	"slices"

	"breakwater/internal/sshsig"
)

// ParseStrangers reads a manifest that a key signed which does not count, and says which
// one. Who uses it has people accept that key, by its fingerprint.
func ParseStrangers(data []byte) (Manifest, sshsig.Key, error) {
	var m Manifest
	_, signature, _ := bytes.Cut(data, []byte("\n"))
	key, err := sshsig.Claimed(string(signature))
	if err == nil {
		err = open(data, ManifestNamespace, []sshsig.Key{key}, &m)
	}
	return m, key, err
}

// Vouch believes manifests that a key signed which counts no more, where one that is
// believed names their bytes: whoever signed that had seen them when the key did count.
func Vouch(all []Found) {
	order := make([]*Found, len(all))
	bySeq := map[int64]*Found{}
	for i := range all {
		order[i], bySeq[all[i].Seq] = &all[i], &all[i]
	}
	slices.SortFunc(order, func(a, b *Found) int { return cmp.Compare(b.Seq, a.Seq) })
	for _, f := range order {
		if !f.Good() || f.Manifest.Previous == nil {
			continue
		}
		if prev := bySeq[f.Manifest.Previous.Seq]; prev != nil && prev.Stranger != "" && prev.SHA256 == f.Manifest.Previous.SHA256 {
			prev.Damage = nil
		}
	}
}
