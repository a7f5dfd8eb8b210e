package memory_test

import (
	"strings"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/objectstore/storetest"
)

func TestConformance(t *testing.T) {
	m := memory.New()
	m.Create("lake", memory.Versioned)
	m.Create("vault", memory.Locked)
	storetest.Run(t, storetest.Target{Store: m.Owner(), Bucket: "lake", Locked: "vault", Stranger: m.Stranger(), Keys: 2500})
}

// A bucket that keeps no versions has one of each key, and what is open is not read
// on when it was replaced.
func TestPlain(t *testing.T) {
	m := memory.New()
	m.Create("plain", memory.Plain)
	b := objectstore.Bind(m.Owner(), "plain")
	put := func(body string) {
		t.Helper()
		if _, err := b.Put(t.Context(), "k", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	put("old content")
	f, err := b.ReaderAt(t.Context(), "k", "")
	if err != nil {
		t.Fatal(err)
	}
	put("new content")
	if n, err := f.ReadAt(make([]byte, 4), 0); err == nil {
		t.Errorf("ReadAt of a replaced object = %d", n)
	}
	n := 0
	for v, err := range b.ListVersions(t.Context(), "") {
		if err != nil || v.VersionID != "null" || !v.Latest || v.Size != 11 {
			t.Errorf("ListVersions = %+v, %v", v, err)
		}
		n++
	}
	if _, err := b.Delete(t.Context(), "k"); err != nil || n != 1 {
		t.Errorf("%d versions; Delete: %v", n, err)
	}
	if there, err := b.Exists(t.Context(), "k"); there || err != nil {
		t.Errorf("Exists after Delete = %v, %v", there, err)
	}
}

// Under suspended versioning what is written or deleted replaces the version null, and what
// was kept before stays; whoever asks is told how to go on.
func TestSuspended(t *testing.T) {
	m := memory.New()
	m.Create("lake", memory.Versioned)
	m.Create("plain", memory.Plain)
	b := objectstore.Bind(m.Owner(), "lake")
	for i, body := range []string{"kept", "null", "null too", ""} {
		m.Suspend("lake", i > 0)
		var err error
		if body == "" {
			_, err = b.Delete(t.Context(), "k")
		} else {
			_, err = b.Put(t.Context(), "k", []byte(body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for v, err := range b.ListVersions(t.Context(), "k") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.VersionID)
	}
	if len(ids) != 2 || ids[0] != "null" {
		t.Errorf("versions %q; want a delete marker null over the one that was kept", ids)
	}
	for bucket, want := range map[string]string{"lake": "is suspended", "plain": "keeps no versions"} {
		why, err := objectstore.Bind(m.Owner(), bucket).Unversioned(t.Context())
		if err != nil || !strings.Contains(why, want) || !strings.Contains(why, "turn versioning on first") {
			t.Errorf("%s: %q, %v", bucket, why, err)
		}
	}
	m.Suspend("lake", false)
	if why, err := b.Unversioned(t.Context()); why != "" || err != nil {
		t.Errorf("versioning is on again: %q, %v", why, err)
	}
}
