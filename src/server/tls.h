// The TLS side of the server: versions 1.2 and up, one certificate chain and its key.
#pragma once
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/result.h"

namespace heed::http {

// Null where neither file is named; an error that names the file where one is missing, unreadable, encrypted
// or does not belong to the other.
Result<std::unique_ptr<boost::asio::ssl::context>> tls_context(const std::string& certfile,
                                                               const std::string& keyfile);

}  // namespace heed::http
