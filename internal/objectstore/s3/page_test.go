package s3

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"breakwater/internal/objectstore"
)

const versionsPage = `<?xml version="1.0" encoding="UTF-8"?>
<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>lake</Name><Prefix>p/</Prefix><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
  <Version>
    <Key>p/a+b%2Bc</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest><LastModified>2026-11-21T10:00:00.123Z</LastModified>
    <ETag>&quot;e&amp;1&quot;</ETag><Size>7</Size><Owner><ID>me</ID><Key>not this</Key></Owner><StorageClass>STANDARD_IA</StorageClass>
  </Version>
  <DeleteMarker><Owner/><Key>p/a+b%2Bc</Key><VersionId>m1</VersionId><IsLatest>true</IsLatest><LastModified>2026-11-21T10:00:00.123Z</LastModified></DeleteMarker>
  <Version><Key>p/d</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><LastModified>2026-11-21T10:00:00Z</LastModified><ETag>&#34;e2&#34;</ETag><Size>0</Size><StorageClass></StorageClass></Version>
  <CommonPrefixes><Prefix>p/q/</Prefix></CommonPrefixes>
</ListVersionsResult>`

// A page's entries come in its order with what they say of themselves, and what is
// around them is left for the SDK.
func TestPage(t *testing.T) {
	var p page
	rest, err := p.take([]byte(versionsPage))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.decode(types.EncodingTypeUrl, 0); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	want := page{
		{Object: objectstore.Object{Key: "p/a b+c", VersionID: "v2", ETag: "e&1", Size: 7, StorageClass: "STANDARD_IA", LastModified: at.Add(123 * time.Millisecond)}},
		{Object: objectstore.Object{Key: "p/a b+c", VersionID: "m1", LastModified: at.Add(123 * time.Millisecond)}, Latest: true, DeleteMarker: true},
		{Object: objectstore.Object{Key: "p/d", VersionID: "null", ETag: "e2", LastModified: at}, Latest: true},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("%+v", p)
	}
	var left struct {
		Name, Prefix, EncodingType string
		IsTruncated                bool
		Version, DeleteMarker      []struct{ Key string }
		CommonPrefixes             []struct{ Prefix string }
	}
	if err := xml.Unmarshal(rest, &left); err != nil || left.Name != "lake" || !left.IsTruncated || left.EncodingType != "url" ||
		left.Version != nil || left.DeleteMarker != nil || len(left.CommonPrefixes) != 1 {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// What is not a whole listing is refused: a part of it would pass for the whole.
func TestPageRefuses(t *testing.T) {
	for i := range versionsPage[:strings.Index(versionsPage, "<CommonPrefixes>")] {
		var p page
		rest, err := p.take([]byte(versionsPage[:i]))
		if err == nil && xml.Unmarshal(rest, new(struct{})) == nil {
			t.Fatalf("accepted: %s", versionsPage[:i])
		}
	}
	for what, change := range map[string][2]string{
		"no key":         {"<Key>p/d</Key>", ""},
		"no size":        {"<Size>0</Size>", ""},
		"a size of text": {"<Size>7</Size>", "<Size>7x</Size>"},
		"no date":        {"2026-11-21T10:00:00Z", "yesterday"},
		"a comment":      {"<Key>p/d</Key>", "<!-- --><Key>p/d</Key>"},
		"raw text":       {"<Key>p/d</Key>", "<Key><![CDATA[p/d]]></Key>"},
		"text between":   {"<Key>p/d</Key>", "p/d"},
		"a proxy's page": {"ListVersionsResult", "html"},
	} {
		var p page
		if _, err := p.take([]byte(strings.Replace(versionsPage, change[0], change[1], 1))); err == nil {
			t.Errorf("%s: accepted as %+v", what, p)
		}
	}
	var p page
	if err := p.decode(types.EncodingTypeUrl, 1); err == nil {
		t.Error("an entry that only the SDK saw was not missed")
	}
}

// Whatever an answer is, it is refused, or all entries of it are found that an XML
// decoder finds.
func FuzzPage(f *testing.F) {
	f.Add([]byte(versionsPage))
	f.Add([]byte(`<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`))
	f.Add([]byte(`<ListBucketResult><Contents a="b"><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var p page
		rest, err := p.take(bytes.Clone(body))
		if err != nil {
			return
		}
		type entries struct {
			Contents, Version, DeleteMarker []struct{ Key string }
		}
		var want, left entries
		if xml.Unmarshal(body, &want) != nil || xml.Unmarshal(rest, &left) != nil {
			return
		}
		var keys, got []string
		for _, of := range [][]struct{ Key string }{want.Contents, want.Version, want.DeleteMarker} {
			for _, e := range of {
				keys = append(keys, e.Key)
			}
		}
		if n := len(left.Contents) + len(left.Version) + len(left.DeleteMarker); n > 0 {
			return // refused by decode
		}
		for _, v := range p {
			got = append(got, v.Key)
		}
		if len(got) < len(keys) {
			t.Errorf("%q, and the decoder finds %q", got, keys)
		}
	})
}

// BenchmarkPage reads a page of 1,000 objects, as [page] does and as the SDK's
// decoder does at least.
func BenchmarkPage(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>lake</Name>`)
	for i := range 1000 {
		fmt.Fprintf(&body, `<Contents><Key>warehouse/t/p=%d/part-%05d-0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.c000.snappy.parquet</Key><LastModified>2026-11-21T10:00:00.123Z</LastModified>`+
			`<ETag>&#34;d41d8cd98f00b204e9800998ecf8427e&#34;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>`, i%10, i, i)
	}
	body.WriteString(`</ListBucketResult>`)
	b.Run("page", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p page
			if _, err := p.take(body.Bytes()); err != nil || len(p) != 1000 {
				b.Fatal(len(p), err)
			}
		}
	})
	b.Run("xml tokens", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := xml.NewDecoder(bytes.NewReader(body.Bytes()))
			for {
				if t, _ := d.Token(); t == nil {
					break
				}
			}
		}
	})
}
