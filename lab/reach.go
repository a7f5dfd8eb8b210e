package lab

import "breakwater/internal/objectstore/s3"

// Storage is how the laboratory's own administrator reaches a place's object
// store: for faults and for judging, never for the product.
func (l *Lab) Storage(place string) s3.Config {
	root := l.secret(place, adminUser)
	return s3.Config{
		Endpoint: "http://" + l.addr("minio-"+place), Region: place,
		AccessKey: root.AccessKey, SecretKey: root.SecretKey, PathStyle: true,
	}
}

// KafkaAdmin is the address of a region's broker at which whoever connects is
// its administrator.
func (l *Lab) KafkaAdmin(region string) string { return l.brokerAddrs(region).Admin }
