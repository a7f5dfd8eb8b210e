package objectstore

// Description is everything that a store says about one version of an object.
type Description struct {
	Object
	// CopyOf names the version that a [Copier] made this object of, as [SourceName]
	// does; empty for any other object, and for a copy whose ETag shows it.
	CopyOf string
	// Checksums are those that the store keeps over the whole object, by algorithm, as
	// in "CRC64NVME". A checksum over checksums of parts depends on the parts and is
	// left out.
	Checksums map[string]string
	// Metadata is what the user wrote, by name in lower case, without CopyOf.
	Metadata map[string]string
	// Headers are Cache-Control, Content-Type and their like, as they are set.
	Headers    map[string]string
	Tags       int // how many tags it has
	Encryption Encryption
}

// SourceName is how a copy records the version that it was made of. The ETag is
// in it since every object that is older than versioning has the version "null".
func SourceName(version, etag string) string { return version + ";" + etag }

// SameChecksum compares the checksums that two objects have in common. known is
// false where there is none, from which nothing follows.
func (d Description) SameChecksum(other Description) (same, known bool) {
	same = true
	for name, sum := range d.Checksums {
		if o, ok := other.Checksums[name]; ok {
			known, same = true, same && o == sum
		}
	}
	return same && known, known
}

// Encryption says how a store keeps an object at rest, as far as it tells.
type Encryption struct {
	Algorithm string // AES256, aws:kms, aws:kms:dsse; empty where the store names none
	Key       string // of the key management service, ARN or id; empty for the store's own keys
}

// String names the key, for people.
func (e Encryption) String() string {
	switch {
	case e.Key != "":
		return "key " + e.Key
	case e.Algorithm != "":
		return "the store's own keys (" + e.Algorithm + ")"
	}
	return "no key named"
}
