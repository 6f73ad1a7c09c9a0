// The bytes behind a reference that a request makes: a data: URL, an http(s): URL, a file: URL.
//
// References come from strangers, and so this is where server-side request forgery is kept out: one parser of
// URLs, and what it understood is what is used; hosts and folders are refused unless they were allowed; no
// redirects; a host's addresses are looked up once, refused if any is not public, and the connection goes to
// an address that was checked, while the server is still held to its name.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace heed {

struct MediaPolicy {
  // --allowed-media-domains: hosts; ".example.com": any below; "example.com:8080": with another port than 80
  // and 443. None: no http(s).
  std::vector<std::string> domains;
  std::string folder;                 // --allowed-media-path: files below it; "": no files
  int64_t bytes = int64_t{32} << 20;  // of one file
  double seconds = 10;                // for one download, from look-up to last byte
  std::string ca_file;                // PEM: authorities in place of the system's
  // For tests: addresses of private networks too; and how addresses are found, in place of the system's way.
  bool allow_private = false;
  std::function<Result<std::vector<std::string>>(const std::string& host)> look_up;
};

// Whether the policy's own words are understood: its domains, its folder.
Status check_media_policy(const MediaPolicy& policy);

class MediaFetcher {
 public:
  explicit MediaFetcher(MediaPolicy policy) : policy_(std::move(policy)) {}

  // From any thread; blocks. Errors: kInvalid for a reference that is not understood, kUnsupported for one
  // that is not allowed (it says which option would allow it), kLimit for too many bytes or too much time,
  // kNotFound for what is not there. None repeats the reference, which may be long and is not ours.
  Result<std::string> fetch(std::string_view reference) const;

 private:
  Result<std::string> download(std::string_view reference) const;
  MediaPolicy policy_;
};

}  // namespace heed
