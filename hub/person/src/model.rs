//! What the model says of a square: `models/person_detect.tflite`, which microflow makes code of while this is
//! compiled (`models/NOTICE` says whose it is).
//!
//! The path is from where cargo runs the compiler, this package's own directory. Nothing is loaded at run time.

use microflow::buffer::Buffer2D;

use crate::crops::Shrunk;

/// Names the file for cargo too, which does not see what a macro reads; another model has another length, and
/// wants another look at [`signed`] and [`PERSON`].
const _: () = assert!(include_bytes!("../models/person_detect.tflite").len() == 300_568);

/// Where in the answer the likelihood of a person is; before it is that of none.
const PERSON: (usize, usize) = (0, 1);

#[microflow::model("models/person_detect.tflite")]
struct PersonDetect;

/// How likely a person is in the square, from 0 to 1.
pub(crate) fn likelihood(square: &Shrunk) -> f32 {
    let pixels = Buffer2D::from_fn(|row, column| [signed(square[row][column])]);
    PersonDetect::predict_quantized([pixels])[PERSON]
}

/// A pixel as the model has them: black is -128, white 127. It was trained with -1 for black and 1 for white, and its
/// scale says the same.
fn signed(pixel: u8) -> i8 {
    (pixel ^ 0x80).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crops::SIDE;

    #[test]
    fn black_and_white_are_the_ends_of_what_the_model_sees() {
        assert_eq!([0, 127, 128, 255].map(signed), [-128, -1, 0, 127]);
    }

    /// microflow's own test of this model shows it an even 0.5 between black at -1 and white at 1, which is pixel 191.
    #[test]
    fn the_model_answers_what_its_makers_say() {
        let plain = [[191; SIDE]; SIDE];
        assert_eq!(likelihood(&plain).to_bits(), 0.195_312_5_f32.to_bits());
    }
}
